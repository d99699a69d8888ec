#!/usr/bin/env bash
# From a fresh clone to a compressed network: trains a small teacher on digits, compresses it for the x86 profile,
# prints the summary, leaves demo-out/model.onnx and demo-out/result.json.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
has_extras dev,demo || ensure_venv demo
cd "$ROOT"
TEACHER=build/demo/teacher.pt
mkdir -p "$(dirname "$TEACHER")"
"$VENV/bin/python" -m tools.demo_teacher "$TEACHER"
exec "$VENV/bin/deploycompress" --profile x86 \
    --arch tools.demo_teacher:DigitsNet --input-shape 1,1,8,8 \
    --data 'digits#train' --test-data 'digits#test' \
    --constraint 'latency_ratio <= 0.75' --budget 2m \
    --out demo-out --force "$TEACHER"
