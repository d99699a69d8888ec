"""Check that imports inside deploycompress only go down, and that heavy libraries stay in their homes.

Run as `python tools/check_layers.py [PACKAGE_FOLDER]`; prints each violation and exits 1 when there is one.
It reads source with `ast` and runs none of it, so imports inside functions and under TYPE_CHECKING count, too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "deploycompress"

# From the top: a module may import from the lines below its own. Names on one line do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    (PACKAGE, "__main__"),  # the lazy public API may name everything, and nothing inside imports it
    ("cli",),
    ("pipeline",),
    ("report",),
    ("execute", "calibration"),
    ("search", "surgery", "train", "quantize"),
    ("capturing", "channels", "network", "measuring", "store"),
    ("profile_files", "profile_schema", "profile_advice"),
    ("profile", "views"),  # a profile holds constraints, a view is of a graph's constant
    ("profile_keys", "profile_precision", "local_machine"),
    ("plan", "evaluation", "constraint", "graph", "verdict"),
    ("precision",),
    ("errors",),
)

# Library: folders and files, relative to the package, that may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "torch": ("capturing", "network", "train", "search"),
    "torchvision": ("capturing", "train"),
    "onnxruntime": ("measuring", "quantize", "capturing/parity.py", "surgery/oracle.py"),
    "sqlite3": ("store",),
    "click": ("cli",),
    "rich": ("cli", "report"),
    "matplotlib": ("report",),
    "safetensors": ("search",),
}

_LINE_OF = {name: line for line, names in enumerate(LAYERS) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One import that the architecture forbids.

    Attributes:
        path: file, relative to the package.
        line: line number of the import.
        reason: what is wrong with it.
    """

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{PACKAGE}/{self.path}:{self.line}: {self.reason}"


def check_package(folder: Path) -> list[Violation]:
    """Check every Python file below the package's folder."""
    return [
        violation
        for path in sorted(folder.rglob("*.py"))
        for violation in check_source(path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8"))
    ]


def check_source(path: str, source: str) -> list[Violation]:
    """Check one file.

    Args:
        path: where it lies, relative to the package, such as `measuring/meter.py`.
        source: its text.

    Returns:
        What it may not do, in the order of its lines.
    """
    layer = _layer_of_path(path)
    if layer not in _LINE_OF:
        return [Violation(path=path, line=1, reason=f"{layer!r} belongs to no layer; name it in LAYERS")]
    violations = []
    for line, target in _imports(path, ast.parse(source, filename=path)):
        reason = _inside(layer, target) if target.split(".")[0] == PACKAGE else _outside(path, target)
        if reason:
            violations.append(Violation(path=path, line=line, reason=reason))
    return violations


def _inside(layer: str, target: str) -> str:
    parts = target.split(".")
    name = parts[1] if len(parts) > 1 else PACKAGE
    if name not in _LINE_OF:
        return "" if layer == PACKAGE else f"imports {target}, which belongs to no layer"
    if name == layer or _LINE_OF[name] > _LINE_OF[layer]:
        return ""
    relation = "is on the same line" if _LINE_OF[name] == _LINE_OF[layer] else "lies above it"
    return f"{layer} imports {target}, which {relation}"


def _outside(path: str, target: str) -> str:
    library = target.split(".")[0]
    homes = HOMES.get(library)
    if homes is None or any(path == home or path.startswith(f"{home}/") for home in homes):
        return ""
    return f"imports {library}, whose home is {', '.join(homes)}"


def _layer_of_path(path: str) -> str:
    first, _, rest = path.partition("/")
    if rest:
        return first
    return PACKAGE if first == "__init__.py" else first.removesuffix(".py")


def _imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, target) for target in _from_targets(path, node))
        elif isinstance(node, ast.Call) and _is_import_call(node):
            yield node.lineno, str(ast.literal_eval(node.args[0]))


def _from_targets(path: str, node: ast.ImportFrom) -> list[str]:
    module = node.module or ""
    if node.level:
        folder = [PACKAGE, *path.split("/")[:-1]]
        module = ".".join([*folder[: len(folder) - node.level + 1], *filter(None, [module])])
    if module != PACKAGE:
        return [module]
    # `from deploycompress import plan` names a module, `from deploycompress import slim` the public API.
    return [f"{PACKAGE}.{alias.name}" if alias.name in _LINE_OF else PACKAGE for alias in node.names]


def _is_import_call(node: ast.Call) -> bool:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    has_literal = bool(node.args) and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    return called in {"import_module", "__import__"} and has_literal


def main() -> int:
    """Check the package beside this script, or the one named on the command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / PACKAGE
    violations = check_package(folder)
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
