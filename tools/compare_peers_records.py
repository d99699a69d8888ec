"""What is kept of each competitor: how it was cut, how it was trained, how fast it is. One JSON file each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploycompress.errors import UsageError
from deploycompress.store.trace_file import write_whole

DEFAULT_OUT = Path("build/peers")
LATENCIES = "latencies.json"
MOST_SPREAD = 0.1  # of a ratio that is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A competitor before training.

    Attributes:
        name: of the competitor.
        family: who made it.
        made: how, in words.
        structure: digest of what its latency depends on, in the form in which it ships.
        macs: for one image, in that form.
        mac_reduction: the teacher's MACs over its own.
        params: trained parameters in that form.
        seconds: that cutting took.
        commit: the code.
    """

    name: str
    family: str
    made: str
    structure: str
    macs: int
    mac_reduction: float
    params: int
    seconds: float
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A competitor after training.

    Attributes:
        name: of the competitor.
        recipe: how it was trained.
        images: training images that it was to see at most.
        images_seen: that it saw, repetitions counted.
        batch_size: images per step.
        settings: of the distillation.
        before: validation accuracy when training began.
        validation: accuracy on the validation split of what ships, in ONNX Runtime.
        test: on the held-out images, likewise.
        best_step: step whose weights ship.
        stopped: why training ended.
        structure: digest of what the latency of what ships depends on.
        macs: of what ships, for one image.
        params: of what ships.
        seconds: that training took, checks included.
        threads: of torch.
        compute: device and arithmetic.
        commit: the code.
    """

    name: str
    recipe: str
    images: int
    images_seen: int
    batch_size: int
    settings: Mapping[str, Any] = field(repr=False)  # Any: settings of different types
    before: float
    validation: float
    test: float
    best_step: int
    stopped: str
    structure: str
    macs: int
    params: int
    seconds: float
    threads: int
    compute: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One network's latency beside the teacher's.

    Attributes:
        median_ms: of all its samples.
        ratio: its latency over the teacher's.
        low: lower end of the ratio's interval.
        high: upper end.
    """

    median_ms: float
    ratio: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval is narrow enough to say anything; it is wide where something else used the machine."""
        return self.high - self.low <= MOST_SPREAD * self.ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """One interleaved run of all networks.

    Attributes:
        teacher_ms: median latency of the teacher.
        of: latency by digest of the structure.
        machine: processor.
        onnxruntime: version.
        threads: of ONNX Runtime.
        starts: fresh processes.
        samples: of each network.
        confidence: of the intervals.
        settled: whether all were steady when sampling began.
        taken: date.
        commit: the code.
    """

    teacher_ms: float
    of: Mapping[str, Latency]
    machine: str
    onnxruntime: str
    threads: int
    starts: int
    samples: int
    confidence: float
    settled: bool
    taken: str
    commit: str


def cut_path(out: Path, name: str) -> Path:
    """Say where a competitor's cut is kept; its network lies beside it as `.onnx`."""
    return out / f"{name}.cut.json"


def trained_path(out: Path, name: str, *, images: int, recipe: str) -> Path:
    """Say where a competitor's result is kept; its network lies beside it as `.onnx`."""
    return out / f"{name}.{images}.{recipe}.json"


def write_record(path: Path, record: Cut | Trained | Latencies) -> None:
    """Write a record whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(record), indent=1) + "\n")


def read_cut(path: Path) -> Cut:
    """Read a competitor's cut.

    Raises:
        UsageError: the file is none.
    """
    record: Cut = _read(path, Cut)
    return record


def read_trained(path: Path) -> Trained:
    """Read a competitor's result.

    Raises:
        UsageError: the file is none.
    """
    record: Trained = _read(path, Trained)
    return record


def read_latencies(out: Path) -> Latencies:
    """Read the run of all networks.

    Raises:
        UsageError: there was none yet, or the file is damaged.
    """
    path = out / LATENCIES
    if not path.exists():
        raise UsageError(f"{path} is not there; run `python -m tools.compare_peers latency` first.")
    found = _read(path, Latencies)
    measured = {name: Latency(**entry) for name, entry in dict[str, Any](found.of).items()}
    return Latencies(**{**asdict(found), "of": measured})


def require_equal_images(rows: Iterable[Trained]) -> None:
    """Refuse to compare networks that were trained on different numbers of images.

    Raises:
        UsageError: a row was to see another number, saw more, or ended more than a batch before.
    """
    rows = tuple(rows)
    for row in rows:
        if row.images != rows[0].images:
            raise UsageError(
                f"{row.name} was to see {row.images} training images and {rows[0].name} {rows[0].images}; "
                "only equal numbers are compared."
            )
        if not row.images - row.batch_size < row.images_seen <= row.images:
            raise UsageError(
                f"{row.name} saw {row.images_seen} training images of {row.images} (it ended as {row.stopped!r}); "
                f"delete its result and train it again with --only {row.name}."
            )


def _read(path: Path, kind: type[Any]) -> Any:  # Any: one of the records above
    try:
        return kind(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} is no {kind.__name__} record ({error}); delete it and make it anew.") from error
