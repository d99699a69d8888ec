"""How well the latency table predicts: ten random students each of ResNet-56 and MobileNetV2 that it had not seen.

Run from the repository root: `python -m tools.calibration_check [--budget 5m] [--profile x86] [--side 96]`. Each
network is calibrated as `profiles calibrate` does it; then ten students are drawn with another seed, measured beside
their teacher, and compared with what the table said. Prints a line for each, and the median and worst error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from deploycompress.calibration.layer_table import predict_ratio
from deploycompress.calibration.sampling import undisturbed_ratio
from deploycompress.calibration.students import random_students
from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.cli.types import parse_duration
from deploycompress.execute.structure import structure_digest
from deploycompress.graph import Graph
from deploycompress.measuring.meter import Meter
from deploycompress.pipeline.calibrate import Calibration, calibrate
from deploycompress.pipeline.calibration_document import calibration_document
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from deploycompress.report.calibration import calibration_lines
from deploycompress.report.lines import PlainProgress
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.shipped import shipped_form
from tools.cifar_resnet import resnet56

WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "models" / "resnet56_cifar10.state_dict.pt"
CALIBRATION_SEED, CHECK_SEED = 0, 1000
STUDENTS = 10
STARTS = 4  # fresh processes: one session of a network differs from the next by several percent
MEASURE_S = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One student: what the table said and what was measured, over the teacher's latency.

    Attributes:
        network: name of the teacher.
        predicted: by the table.
        measured: undisturbed latency (its tenth percentile), which is what the table speaks about.
        median: ratio of the medians; on a machine that does nothing else the same.
    """

    network: str
    predicted: float
    measured: float
    median: float

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted / self.measured - 1


def networks(side: int) -> dict[str, Graph]:
    """Capture both networks; weights change no latency, so random ones do where the trained ones are not there."""
    torch.manual_seed(0)
    small = resnet56()
    if WEIGHTS.is_file():
        small.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    mobile: nn.Module = torchvision.models.mobilenet_v2(weights=None)
    return {
        "ResNet-56": capture(small.eval(), input_shape=(1, 3, 32, 32)),
        f"MobileNetV2 at {side}x{side}": capture(mobile.eval(), input_shape=(1, 3, side, side)),
    }


def unseen(graph: Graph, quantum: int) -> list[Graph]:
    """Draw students that calibration did not measure."""
    channels = trace_channels(graph)
    offered = blocks(graph, channels=channels)
    seen = {
        structure_digest(student)
        for student in islice(random_students(graph, channels, offered, quantum=quantum, seed=CALIBRATION_SEED), 200)
    }
    fresh: dict[str, Graph] = {}
    for student in random_students(graph, channels, offered, quantum=quantum, seed=CHECK_SEED):
        digest = structure_digest(student)
        if digest not in seen:
            fresh[digest] = student
        if len(fresh) == STUDENTS:
            break
    return list(fresh.values())


def check(name: str, graph: Graph, calibration: Calibration, profile: Profile) -> list[Check]:
    """Measure students and compare."""
    if calibration.table is None:
        raise SystemExit(f"{name}: no table was made")
    teacher, found = shipped_form(graph), []
    with Meter(profile) as meter:
        for student in unseen(graph, calibration.quanta.quantum):
            measurement = meter.measure(student, baseline=teacher, max_seconds=MEASURE_S, starts=STARTS)
            one = Check(
                network=name,
                predicted=predict_ratio(calibration.table.table, student),
                measured=undisturbed_ratio(measurement),
                median=measurement.ratio,
            )
            found.append(one)
            print(
                f"{name}: predicted {one.predicted:.3f}, measured {one.measured:.3f} (medians {one.median:.3f}), "
                f"error {one.error:+.1%}",
                flush=True,
            )
    errors = np.abs([one.error for one in found])
    to_medians = np.abs([one.predicted / one.median - 1 for one in found])
    print(
        f"{name}: error on {len(found)} unseen students: median {np.median(errors):.1%}, worst {errors.max():.1%} "
        f"(to the ratio of medians: {np.median(to_medians):.1%} and {to_medians.max():.1%})\n",
        flush=True,
    )
    return found


def main() -> int:
    """Calibrate, check, print; exit 1 when a median error is above the target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--profile", default="x86")
    parser.add_argument("--budget", type=parse_duration, default=300.0, help="for each network, such as 5m")
    parser.add_argument("--only", default="", help="check the network whose name holds this text")
    parser.add_argument("--side", type=int, default=96, help="image size for MobileNetV2")
    parser.add_argument("--target", type=float, default=0.05, help="median error that passes")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    profile = load_profile(options.profile)
    checks: list[Check] = []
    for name, graph in networks(options.side).items():
        if options.only.lower() not in name.lower():
            continue
        with tempfile.TemporaryDirectory() as cache:
            found = calibrate(
                graph, profile, budget_s=options.budget, cache=Path(cache), progress=PlainProgress(sys.stderr)
            )
        document = calibration_document(found, profile=profile.name, model=name, out=Path("none"))
        print("\n".join(calibration_lines(document)), flush=True)
        checks += check(name, graph, found, profile)
    if options.out:
        options.out.write_text(json.dumps([{**asdict(one), "error": one.error} for one in checks], indent=1))
    medians = {
        name: float(np.median([abs(one.error) for one in checks if one.network == name]))
        for name in {one.network for one in checks}
    }
    return 0 if max(medians.values()) <= options.target else 1


if __name__ == "__main__":
    sys.exit(main())
