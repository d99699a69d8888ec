"""Check a result with nothing but ONNX Runtime, NumPy and the files.

    python tools/verify_result.py OUT [TEACHER.onnx] --test-data test.npz

Recomputes the test accuracy and, given the teacher as an ONNX file, the latency ratio, and prints both beside the
figures in result.json. Exits 1 when they differ by more than 0.1 point, or the ratios by more than a tenth or 0.05.
It shares no code with the package.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

BATCH = 200
MOST_POINTS = 0.1
MOST_RATIO = 0.05
MOST_RELATIVE = 0.1
WARMUP_RUNS = 50
ROUNDS = 400
UNDISTURBED = 0.1  # quantile of the runs, which what else uses the machine does not reach
RUNS_PER_ROUND = 5  # within a round one model runs warm, as it would in use

Record = dict[str, Any]  # Any: parsed JSON


def main() -> int:
    """Compare, print, and turn the comparison into an exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder with model.onnx and result.json")
    parser.add_argument("teacher", nargs="?", type=Path, help="the teacher as an ONNX file; without it no latency")
    parser.add_argument("--test-data", type=Path, required=True, help=".npz with images [N,H,W,C] and labels [N]")
    options = parser.parse_args()
    result = json.loads((options.out / "result.json").read_text(encoding="utf-8"))
    student = open_session(options.out / "model.onnx")
    agrees = [compare_accuracy(result, student, options.test_data)]
    if options.teacher is not None:
        agrees.append(compare_ratio(result, open_session(options.teacher), student))
    return 0 if all(agrees) else 1


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open a model on one thread of the CPU."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def compare_accuracy(result: Record, student: onnxruntime.InferenceSession, test_data: Path) -> bool:
    """Recompute the share of right answers; say whether it agrees with the recorded one."""
    with np.load(test_data, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"].astype(np.int64)
    if result["student"]["accuracy"] is None:
        print(f"accuracy       not recorded: the run judged by {result['score']['name']}")
        return True
    normalization = result["data"].get("test_normalization") or result["data"]["normalization"]
    feed, right = student.get_inputs()[0].name, 0
    for start in range(0, len(labels), BATCH):
        inputs = prepare(images[start : start + BATCH], normalization)
        logits = student.run(None, {feed: inputs})[0]
        right += int((logits.argmax(axis=1) == labels[start : start + BATCH]).sum())
    found, recorded = right / len(labels), float(result["student"]["accuracy"])
    agrees = abs(found - recorded) * 100 <= MOST_POINTS + 1e-9
    split = result["data"].get("accuracy_split")
    note = "" if split == "test" else f" (recorded on the {split} split, not on test data)"
    print(f"accuracy       found {100 * found:.3f} %  recorded {100 * recorded:.3f} %  {verdict(agrees)}{note}")
    return agrees


def prepare(images: np.ndarray[Any, Any], normalize: Record) -> np.ndarray[Any, Any]:
    """Turn [B,H,W,C] pixels into the network's input [B,C,H,W] as result.json says: (pixel * scale - mean) / std."""
    scaled = images.astype(np.float64) * normalize["scale"]
    whitened = (scaled - np.array(normalize["mean"])) / np.array(normalize["std"])
    return np.ascontiguousarray(whitened.transpose(0, 3, 1, 2), dtype=np.float32)


def compare_ratio(result: Record, teacher: onnxruntime.InferenceSession, student: onnxruntime.InferenceSession) -> bool:
    """Time both models in turns; say whether the ratio of undisturbed runs agrees with the recorded one."""
    sample = one_sample(student)
    teacher_s: list[float] = []
    student_s: list[float] = []
    for session in (teacher, student):
        time_runs(session, sample, WARMUP_RUNS)
    for index in range(ROUNDS):
        turns = [(teacher, teacher_s), (student, student_s)]
        for session, seconds in turns if index % 2 else reversed(turns):
            seconds += time_runs(session, sample, RUNS_PER_ROUND)
    found = float(np.quantile(student_s, UNDISTURBED) / np.quantile(teacher_s, UNDISTURBED))
    recorded = float(result["ratio"]["latency"])
    agrees = abs(found - recorded) <= min(MOST_RATIO, MOST_RELATIVE * recorded)
    print(f"latency ratio  found {found:.4f}  recorded {recorded:.4f}  {verdict(agrees)}")
    return agrees


def one_sample(session: onnxruntime.InferenceSession) -> np.ndarray[Any, Any]:
    """Make one random input; named axes, such as the batch, have size one."""
    shape = [axis if isinstance(axis, int) else 1 for axis in session.get_inputs()[0].shape]
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def time_runs(session: onnxruntime.InferenceSession, sample: np.ndarray[Any, Any], runs: int) -> list[float]:
    """Time single inferences, seconds each."""
    feed, seconds = {session.get_inputs()[0].name: sample}, []
    for _ in range(runs):
        started_s = time.perf_counter()
        session.run(None, feed)
        seconds.append(time.perf_counter() - started_s)
    return seconds


def verdict(agrees: bool) -> str:
    """Name the outcome of one comparison."""
    return "agrees" if agrees else "DIFFERS"


if __name__ == "__main__":
    sys.exit(main())
