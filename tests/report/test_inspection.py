"""The page of `inspect`, plain and on a terminal."""

from __future__ import annotations

import io
from typing import Any

from deploycompress.pipeline.inspection import inspect
from deploycompress.report.inspection import ROWS_SHOWN, print_inspection
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import in_int8


class Terminal(io.StringIO):
    """Looks like a terminal."""

    def isatty(self) -> bool:
        return True


def page(document: dict[str, Any], stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    print_inspection(document, "model.onnx", stream)
    return stream.getvalue()


def test_every_number_says_where_it_comes_from() -> None:
    lines = page(inspect(residual_net(), why_not_measured="no --profile was given")).splitlines()
    assert "MACs a sample (analytic)" in lines[0]
    assert lines[1] == "Latency: no --profile was given"
    heads = [lines[index + 1] for index, line in enumerate(lines) if line.startswith(("Channel groups", "Blocks"))]
    assert len(heads) == 2
    for head in heads:
        assert "parameters (analytic)" in head
        assert "MACs (analytic)" in head
        assert "share (not measured)" in head


def test_frozen_groups_say_why() -> None:
    (line,) = [line for line in page(inspect(residual_net())).splitlines() if line.startswith("linear28 ")]
    assert "of the graph" in line


def test_what_is_not_known_is_a_dash_with_the_reason() -> None:
    document = inspect(residual_net())
    document |= {"macs": None, "why_no_macs": "The size depends on the data."}
    text = page(document)
    assert "- MACs a sample" in text
    assert "MACs: The size depends on the data." in text


def test_long_lists_are_cut_short_with_their_count() -> None:
    net = start()
    x = "x"
    for _ in range(ROWS_SHOWN + 5):
        x = net.conv(x, 4)
    document = inspect(net.finish(x, input_shape=(3, 4, 4)))
    assert len(document["groups"]) == len(document["kernels"]) == ROWS_SHOWN + 5
    text = page(document)
    assert f"Channel groups: {ROWS_SHOWN + 5}\n" in text
    assert text.count("... and 5 more; --json has them all") >= 2


def test_long_lists_of_members_are_cut_short_with_their_count() -> None:
    document = inspect(residual_net())
    assert "and 21 more" in page(document)
    assert len(document["groups"][0]["members"]) == 24


def test_a_terminal_gets_the_same_cells() -> None:
    document = inspect(residual_net())
    drawn = page(document, Terminal())
    assert "Channel groups: 6" in drawn
    assert all(row["layer"] in drawn for row in document["kernels"])


def test_a_quantised_model_says_so_instead_of_empty_tables() -> None:
    text = page(inspect(in_int8(shipped_form(residual_net()))))
    assert "The model is quantised" in text
    assert "Channel groups" not in text
    assert not text.startswith("model.onnx: 0 parameters")
