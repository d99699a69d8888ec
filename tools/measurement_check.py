"""Is the measurement to be trusted? Repeatability, agreement with a loop written apart, memory counted apart.

Run from the repository root, on a machine that does nothing else:

    python -m tools.measurement_check ratios       # 20 fresh benches, half of them with another core busy
    python -m tools.measurement_check selves       # 20 comparisons of a model with itself and with a 5 % larger one
    python -m tools.measurement_check agreement    # five networks against a plain ONNX Runtime loop
    python -m tools.measurement_check activations  # five networks without fused operators, peaks counted apart

Each prints its figures, one line a try and a summary.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torchvision

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import channel_groups
from deploycompress.graph import Graph
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter, trusted_starts
from deploycompress.pipeline.compare import compare
from deploycompress.plan import Plan
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from deploycompress.surgery.shipped import shipped_form
from deploycompress.surgery.slim import slim
from tools.cifar_resnet import resnet20
from tools.liveness import peak_bytes

BENCHES = 20
PLAIN_LOOP = Path(__file__).with_name("plain_loop.py")
NETWORKS = ("resnet18", "mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x1_0", "mnasnet0_5")
TIMED_SIDE, COUNTED_SIDE = 96, 64


def main() -> int:
    """Do one of the checks."""
    checks = {"ratios": ratios, "selves": selves, "agreement": agreement, "activations": activations}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("check", choices=checks)
    parser.add_argument("--profile", default="x86")
    parser.add_argument("--tries", type=int, default=BENCHES)
    options = parser.parse_args()
    checks[options.check](load_profile(options.profile), options.tries)
    return 0


def ratios(profile: Profile, tries: int) -> None:
    """Bench a teacher and its student again and again, every other time beside a busy loop."""
    teacher = capture(resnet20().eval(), input_shape=(1, 3, 32, 32))
    student = _halved(teacher)
    found: list[Measurement] = []
    for attempt in range(tries):
        is_loaded = attempt % 2 == 1
        with _busy(is_loaded), Meter(profile) as meter:
            _, measured = meter.measure_together([shipped_form(teacher), student], starts=trusted_starts(profile))
        found.append(measured)
        low, high = measured.ratio_interval().low, measured.ratio_interval().high
        print(
            f"{'loaded' if is_loaded else 'alone ':6}  ratio {measured.ratio:.4f} ({low:.4f} to {high:.4f})  "
            f"median {measured.median_ms:.4f} ms",
            flush=True,
        )
    _say("ratio", [one.ratio for one in found])
    _say("ratio, alone", [one.ratio for one in found[::2]])
    _say("ratio, loaded", [one.ratio for one in found[1::2]])
    _say("raw median of the student, ms", [one.median_ms for one in found])


def selves(profile: Profile, tries: int) -> None:
    """Compare a model with itself and with one of a twentieth more layers."""
    told: dict[str, list[bool]] = {"itself": [], "5 % more": []}
    with tempfile.TemporaryDirectory() as folder:
        first, same, larger = (Path(folder) / f"{name}.onnx" for name in ("first", "same", "larger"))
        for path, depth in ((first, 20), (same, 20), (larger, 21)):
            capture(_chain(depth), input_shape=(1, 32, 14, 14)).save(path)
        for _ in range(tries):
            for name, other in (("itself", same), ("5 % more", larger)):
                found = compare(first, other, profile=profile)
                told[name].append(bool(found["different"]))
                print(
                    f"{name:9}", json.dumps({key: found[key] for key in ("ratio", "interval", "different")}), flush=True
                )
                if name != "itself" and not found["ratio"] > 1:
                    print("          ranked wrong")
    for name, answers in told.items():
        print(f"{name}: different in {sum(answers)} of {len(answers)}")


def agreement(profile: Profile, tries: int) -> None:
    """Hold medians against those of a loop that shares no code with the package, in turns, in processes of its own."""
    for name, graph in _zoo(TIMED_SIDE):
        with tempfile.TemporaryDirectory() as folder, Meter(profile) as meter:
            path = Path(folder) / "model.onnx"
            graph.save(path)
            ours, theirs = [], []
            for _ in range(max(tries // 4, 3)):
                ours.append(meter.measure(path, max_seconds=2.0).median_ms)
                meter.close()
                command = [sys.executable, str(PLAIN_LOOP), str(path), str(profile.runtime.threads), "2.0"]
                theirs.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"{name:18} ours {_range(ours)}  plain loop {_range(theirs)}  ratio {ratio:.3f}", flush=True)


def activations(profile: Profile, tries: int) -> None:
    """Hold ONNX Runtime's activation peaks against a count of live tensors that shares no code with the package."""
    del tries
    plain = profile.model_copy(
        update={"runtime": profile.runtime.model_copy(update={"graph_optimization": "disabled"})}
    )
    for name, graph in _zoo(COUNTED_SIDE):
        with Meter(plain) as meter:
            found = meter.measure(graph, max_seconds=0.0)
        counted = peak_bytes(graph.to_onnx())
        print(
            f"{name:18} ONNX Runtime {found.activation_peak_bytes:>10,}  counted {counted:>10,}  "
            f"difference {found.activation_peak_bytes - counted:+,} bytes ({found.activation_evidence})",
            flush=True,
        )


def _zoo(side: int) -> Iterator[tuple[str, Graph]]:
    for name in NETWORKS:
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, weights=None).eval()
        yield name, shipped_form(capture(network, input_shape=(1, 3, side, side)))


def _halved(teacher: Graph) -> Graph:
    keep = {group.name: tuple(range(max(group.width // 2, 1))) for group in channel_groups(teacher) if not group.frozen}
    return shipped_form(slim(teacher, Plan(keep=keep)))


def _chain(depth: int) -> torch.nn.Module:
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for _ in range(depth):
        layers += [torch.nn.Conv2d(32, 32, 3, padding=1), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers).eval()


@contextlib.contextmanager
def _busy(is_wanted: bool) -> Iterator[None]:
    """Keep one core busy meanwhile."""
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if is_wanted else None
    try:
        yield
    finally:
        if loop is not None:
            loop.kill()
            loop.wait()


def _range(times_ms: Sequence[float]) -> str:
    return f"{statistics.median(times_ms):.4f} ms ({min(times_ms):.4f} to {max(times_ms):.4f})"


def _say(what: str, values: Sequence[float]) -> None:
    middle = statistics.median(values)
    spread = (max(values) - min(values)) / middle
    off = max(abs(value / middle - 1) for value in values)
    print(f"{what}: median {middle:.4f}, range {spread:.2%}, farthest from the median {off:.2%}, n {len(values)}")


if __name__ == "__main__":
    sys.exit(main())
