#!/usr/bin/env bash
# The tests that take minutes: bash tools/test_slow.sh [pytest arguments]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
ensure_venv dev,demo
cd "$ROOT"
exec "$VENV/bin/python" -m pytest -m slow "$@"
