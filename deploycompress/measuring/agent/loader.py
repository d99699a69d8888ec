"""The first code on the device: imports the agent from memory, so that nothing has to be installed.

It also has to run, and say what is wrong, where Python is too old for the rest.
"""

import importlib.abc
import importlib.machinery
import sys

PACKAGE = "agent"
OLDEST_PYTHON = (3, 8)


class MemoryImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the agent's modules among texts.

    Args:
        sources: text of each module by its full name.
    """

    def __init__(self, sources):  # type: ignore[no-untyped-def]  # old Pythons know no such types
        self._sources = sources

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """Say that a module is here."""
        if fullname not in self._sources:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname == PACKAGE)

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        """Run a module's text."""
        name = module.__name__
        exec(compile(self._sources[name], "<%s>" % name, "exec"), module.__dict__)  # noqa: S102, UP031


def start(stream, bundle):  # type: ignore[no-untyped-def]
    """Run the agent on a stream of requests.

    Args:
        stream: binary standard input, behind the bundle.
        bundle: `sources` by module name, and the `search_path` to add.
    """
    if sys.version_info < OLDEST_PYTHON:
        found, needed = (".".join(map(str, part)) for part in (sys.version_info[:3], OLDEST_PYTHON))
        sys.exit("deploycompress: Python %s is too old, %s is needed" % (found, needed))  # noqa: UP031
    sys.meta_path.insert(0, MemoryImporter(bundle["sources"]))  # type: ignore[no-untyped-call]
    serve = importlib.import_module(PACKAGE + ".serve")
    serve.main(stream, bundle["search_path"])
