# Sourced by the other scripts: a virtual environment in .venv with the package and its extras, made once.

ROOT="$(CDPATH= cd -- "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Print an interpreter of at least 3.11: the one in $PYTHON, or the first that is found.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if is_new_enough "$PYTHON"; then echo "$PYTHON"; return 0; fi
        echo "error: PYTHON=$PYTHON is no Python 3.11 or newer." >&2
        return 1
    fi
    local name
    for name in python3.12 python3.11 python3.13 python3 python; do
        if is_new_enough "$name"; then echo "$name"; return 0; fi
    done
    echo "error: Python 3.11 or newer was not found; install it, or name it: PYTHON=/path/to/python3.11 bash $0" >&2
    return 1
}

# What an installation depends on: where the sources lie, and what they require.
fingerprint() {
    echo "$ROOT $(cksum < "$ROOT/pyproject.toml")"
}

# has_extras EXTRAS: whether .venv was installed with them for this very pyproject.toml.
has_extras() {
    [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/.installed-$1" 2>/dev/null)" = "$(fingerprint)" ]
}

# ensure_venv EXTRAS: make .venv if absent, and install the package with its extras unless that was done already.
ensure_venv() {
    local extras="$1" python
    if ! [ -x "$VENV/bin/python" ]; then
        python="$(find_python)" || return 1
        echo "making $VENV with $("$python" --version)" >&2
        if ! "$python" -m venv "$VENV"; then
            rm -rf "$VENV"
            echo "error: $python cannot make a virtual environment; on Debian and Ubuntu install python3-venv." >&2
            return 1
        fi
    elif ! is_new_enough "$VENV/bin/python"; then
        echo "error: $VENV holds no Python 3.11 or newer; delete it and run again." >&2
        return 1
    fi
    if has_extras "$extras"; then return 0; fi
    echo "installing deploycompress[$extras]; the first time this takes minutes" >&2
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -e "$ROOT[$extras]" || {
        echo "error: installation failed; the message above is pip's." >&2
        return 1
    }
    fingerprint > "$VENV/.installed-$extras"
}
