"""A latency loop with nothing but ONNX Runtime, to hold ours against: `python plain_loop.py MODEL THREADS SECONDS`.

Prints the median in milliseconds. Deliberately shares nothing with the package: no binding, no stop rule, plain feeds.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import onnxruntime


def main() -> None:
    """Time a model."""
    path, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(1)
    feeds = {
        port.name: generator.standard_normal([size if isinstance(size, int) else 1 for size in port.shape], np.float32)
        for port in session.get_inputs()
    }
    until = time.perf_counter() + 0.3
    while time.perf_counter() < until:
        session.run(None, feeds)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < 30:
        begin = time.perf_counter()
        session.run(None, feeds)
        taken.append(time.perf_counter() - begin)
    print(f"{1e3 * float(np.median(taken)):.6f}")


if __name__ == "__main__":
    main()
