#!/usr/bin/env bash
# Lint, types and tests, on a fresh clone as well: bash tools/test.sh [pytest arguments]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
ensure_venv dev,demo
cd "$ROOT"
"$VENV/bin/ruff" check .
"$VENV/bin/ruff" format --check .
"$VENV/bin/mypy"
WORKERS="$("$VENV/bin/python" -c 'from deploycompress.local_machine import usable_cores; print(min(usable_cores(), 4))')"
exec "$VENV/bin/python" -m pytest -m "not slow" -n "$WORKERS" --dist loadfile "$@"
