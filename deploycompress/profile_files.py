"""Where profiles lie and how they are read: folders, names, aliases, and what is wrong with a file.

An alias is a file with nothing but `schema = 1` and `alias = "other-profile"`: another name for that profile.
"""

from __future__ import annotations

import os
import tomllib
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from deploycompress.errors import ProfileError
from deploycompress.profile import Profile
from deploycompress.profile_keys import did_you_mean

SEARCH_PATH_VARIABLE = "DEPLOYCOMPRESS_PROFILES"

_ALIAS_KEYS = {"schema", "alias"}
_MOST_BYTES = 2**20


def load_profile(name_or_path: str | os.PathLike[str]) -> Profile:
    """Read a profile, by path or by name.

    A text that ends in `.toml` or has a folder in it is a path. A name is looked up in `./profiles`, then in the
    folders of `$DEPLOYCOMPRESS_PROFILES`, then among the shipped profiles. An alias gives the profile it stands for,
    under that profile's name.

    Raises:
        ProfileError: there is no such profile, or the file is not one.

    Examples:
        >>> import deploycompress
        >>> deploycompress.load_profile("x86").runtime.providers
        ('CPUExecutionProvider',)
    """
    file, table = _resolve(name_or_path)
    problems = _problems(table)
    if not problems:
        return Profile.model_validate({**table, "name": _name_of(file)})
    more = f" It has {len(problems) - 1} more such problems (deploycompress profiles validate)." * (len(problems) > 1)
    raise ProfileError(f"Profile {file}: {problems[0]}{more}")


def find_profile(name_or_path: str | os.PathLike[str]) -> Traversable:
    """Find the file of a profile, that of the profile meant where it is an alias.

    Raises:
        ProfileError: there is no such profile, the file cannot be read, or it is an alias of nothing.
    """
    return _resolve(name_or_path)[0]


def problems_of(name_or_path: str | os.PathLike[str]) -> tuple[str, ...]:
    """List everything that is wrong with a profile, as sentences; nothing when it can be loaded."""
    try:
        return tuple(_problems(_resolve(name_or_path)[1]))
    except ProfileError as error:
        return (str(error),)


def alias_target(name_or_path: str | os.PathLike[str]) -> str:
    """Say for which profile an alias stands; empty for a profile proper.

    Raises:
        ProfileError: there is no such profile, or the file cannot be read.
    """
    return str(_parse(_locate(name_or_path)).get("alias", ""))


def profile_names() -> tuple[str, ...]:
    """List the profiles that can be loaded by name, in alphabetical order."""
    files = (name for folder in _folders() for name in _names_in(folder))
    return tuple(sorted({name.removesuffix(".toml") for name in files if name.endswith(".toml")}))


def _resolve(name_or_path: str | os.PathLike[str]) -> tuple[Traversable, Mapping[str, Any]]:  # Any: parsed TOML
    file = _locate(name_or_path)
    table = _parse(file)
    if "alias" not in table:
        return file, table
    target = table["alias"]
    if set(table) != _ALIAS_KEYS or table["schema"] != 1 or not isinstance(target, str):
        raise ProfileError(f'Profile {file}: an alias holds schema = 1 and alias = "NAME" and nothing else.')
    if target.endswith(".toml") or Path(target).name != target:
        raise ProfileError(f"Profile {file} is an alias of {target!r}; an alias stands for a name, not for a path.")
    try:
        aim = _beside(file, f"{target}.toml") or _locate(target)
    except ProfileError as error:
        raise ProfileError(f"Profile {file} is an alias of {target!r}: {error}") from error
    table = _parse(aim)
    if "alias" in table:
        raise ProfileError(f"Profile {file} is an alias of {target!r}, which is an alias itself; name the profile.")
    return aim, table


def _beside(file: Traversable, name: str) -> Path | None:
    neighbour = file.parent / name if isinstance(file, Path) else None
    return neighbour if neighbour is not None and _is_file(neighbour) else None


def _locate(name_or_path: str | os.PathLike[str]) -> Traversable:
    given = os.fspath(name_or_path)
    path = Path(given)
    if path.suffix == ".toml" or path.name != given:
        return path
    for folder in _folders():
        candidate = folder / f"{given}.toml"
        if _is_file(candidate):
            return candidate
    names = profile_names()
    raise ProfileError(
        f"There is no profile {given!r}{did_you_mean(given, names)}; known are {', '.join(names) or 'none'}, "
        "or give the path of a .toml file."
    )


def _folders() -> list[Traversable]:
    listed = os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep)
    return [Path("profiles"), *(Path(folder) for folder in listed if folder), shipped_folder()]


def _names_in(folder: Traversable) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:  # no folder, or not for us
        return []


def _is_file(file: Traversable) -> bool:
    try:
        return file.is_file()
    except OSError:  # the name is too long, or the folder not for us
        return False


def shipped_folder() -> Traversable:
    """Find the folder of the profiles that come with the package."""
    try:
        return resources.files("deploycompress.profiles")
    except ModuleNotFoundError:  # run from a checkout that is not installed
        return Path(__file__).parents[1] / "profiles"


def _parse(file: Traversable) -> Mapping[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ProfileError(f"Profile {file} has more than {_MOST_BYTES:,} bytes; a profile is a short TOML file.")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ProfileError(
            f"Profile {file} cannot be read: {error.strerror}; known are {', '.join(profile_names())}."
        ) from error
    except UnicodeDecodeError as error:
        raise ProfileError(
            f"Profile {file} is not UTF-8 text (byte {error.start}); a profile is a TOML file."
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ProfileError(f"Profile {file} is not valid TOML: {error}.") from error


def _problems(table: Mapping[str, Any]) -> list[str]:
    if "name" in table:
        return ["unknown key 'name' in the top level; a profile is named after its file."]
    try:
        Profile.model_validate({**table, "name": "any"})
    except ValidationError as error:
        return [_explain(problem) for problem in error.errors()]
    return []


def _name_of(file: Traversable) -> str:
    return file.name.removesuffix(".toml")


def _explain(problem: Mapping[str, Any]) -> str:
    *tables, key = (str(part) for part in problem["loc"]) if problem["loc"] else ("",)
    place = f"table [{'.'.join(tables)}]" if tables else "the top level"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(tables)
        return f"unknown key {key!r} in {place}{did_you_mean(key, known)}; known are {', '.join(known)}."
    if problem["type"] == "missing":
        return f"key {key!r} is missing in {place}."
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{key!r} in {place}: {message}" + ("" if message.endswith(".") else ".")
    return f"{key!r} in {place} is {problem['input']!r}: {message[:1].lower()}{message[1:]}."


def _known_keys(tables: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Profile
    entries = iter(tables)
    for table in entries:
        annotation: Any = model.model_fields[table].annotation  # Any: a type or a generic alias of one
        if typing.get_origin(annotation) is dict:
            next(entries, None)  # the entry's own name
            annotation = typing.get_args(annotation)[1]
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(
        field.alias or name for name, field in model.model_fields.items() if (model, name) != (Profile, "name")
    )
