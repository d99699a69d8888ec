"""The page of settings is what the code makes of its own records."""

from deploycompress.pipeline.settings import known_settings, read_settings
from deploycompress.search import ENGINES
from tools.settings_page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python -m tools.settings_page"


def test_every_setting_is_there_with_its_meaning() -> None:
    names = {name for engine in ENGINES for name in known_settings(read_settings([], engine))}
    rows = {line.split("`")[1]: line for line in page().splitlines() if line.startswith("| `")}
    assert set(rows) == names
    assert all(len(row.split("|")[3].strip()) > 5 for row in rows.values())
