"""The precision chapter: the trained winner, in the arithmetic that ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deploycompress.execute.local import LocalEnvironment
from deploycompress.graph import Graph
from deploycompress.network.module import GraphModule, from_torch, to_torch
from deploycompress.pipeline.fp16 import in_fp16
from deploycompress.pipeline.higher import choose_higher, pays
from deploycompress.pipeline.int8 import Int8, in_int8, validation_score
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.winner import shower
from deploycompress.plan import Plan
from deploycompress.precision import Precision
from deploycompress.quantize.static import finished, quantized
from deploycompress.quantize.support import kept_single
from deploycompress.surgery.shipped import shipped_form
from deploycompress.train.distil_settings import DistilReport, DistilSettings, StopReason
from deploycompress.train.generator import make_generator
from deploycompress.train.quantized import distil_quantized

LEAST_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """The winner as it ships, and how it came there.

    Attributes:
        graph: what ships.
        single: the same student in single precision.
        plan: of the student, with its precision and the layers that stay above it.
        kept: parts that cannot have the precision, with why.
        ranges: how ranges of activations were found; empty outside 8 bits.
        steps: what was done to the float network before it was quantised.
        calibrated: validation score in 8 bits before training there; none outside 8 bits.
        trained: training in 8 bits; none where there was none.
        scored: validation score after it; none likewise.
        ships_trained: whether what was trained in 8 bits is what ships, for it scored no worse.
    """

    graph: Graph
    single: Graph
    plan: Plan
    kept: Mapping[str, str] = field(default_factory=dict)
    ranges: str = ""
    steps: tuple[str, ...] = ()
    calibrated: float | None = None
    trained: DistilReport | None = None
    scored: float | None = None
    ships_trained: bool = False

    @property
    def precision(self) -> Precision:
        """What ships; single precision where a run that was free to choose found nothing faster."""
        return self.plan.precision


def lower(job: Job, environment: LocalEnvironment, module: GraphModule, plan: Plan) -> Lowered:
    """Write trained weights back, take out what the device need not compute, and bring the rest to the run's precision.

    Args:
        job: says which precision.
        environment: gives the network that teaches, where training goes on in 8 bits.
        module: the trained winner.
        plan: that it was cut by.
    """
    single, precision = shipped_form(from_torch(module)), job.precision
    if precision is None or precision is Precision.FP32:
        return Lowered(graph=single, single=single, plan=plan)
    if job.is_free and not pays(job, environment, single):
        job.progress.message(f"The student is no faster in {precision} than in single precision, so it ships in that.")
        return Lowered(graph=single, single=single, plan=plan)
    kept = kept_single(single, precision)
    if precision is Precision.FP16:
        graph, too_large = in_fp16(job, single)
        kept = {**kept, **too_large}
        _warn_of_mixture(job, kept)
        return Lowered(graph=graph, single=single, plan=replace(plan, precision=precision), kept=kept)
    _warn_of_mixture(job, kept)
    with job.progress.stage("find ranges for int8"):
        found, higher = _in_int8(job, environment, single)
    lowered = Lowered(
        graph=found.graph,
        single=single,
        plan=replace(plan, precision=precision, higher=tuple(sorted(higher))),
        kept=kept,
        ranges=found.method.value,
        steps=found.steps,
        calibrated=found.score,
    )
    return _trained(job, environment, lowered, found) if job.settings.quantization.share else lowered


def _warn_of_mixture(job: Job, kept: Mapping[str, str]) -> None:
    if kept and not job.profile.precision.mixed:
        job.progress.warning(
            f"Profile {job.profile.name!r} wants no mixture, and {', '.join(kept)} cannot have {job.precision}."
        )


def _in_int8(job: Job, environment: LocalEnvironment, single: Graph) -> tuple[Int8, tuple[str, ...]]:
    """Bring a student to 8 bits, and say which of its layers stay above them."""
    throughout = in_int8(job, single)
    higher = choose_higher(job, environment, single, throughout) if job.is_free and job.profile.precision.mixed else ()
    if not higher:
        return throughout, ()
    mixture = in_int8(job, single, higher=higher)
    return (mixture, higher) if mixture.score > throughout.score else (throughout, ())


def _trained(job: Job, environment: LocalEnvironment, lowered: Lowered, found: Int8) -> Lowered:
    """Go on training with 8-bit arithmetic in the forward pass; what scores better ships."""
    form, higher = job.profile.precision.int8, lowered.plan.higher
    module = to_torch(quantized(found.source, found.ranges, form, higher=higher, trainable=True))
    with job.progress.stage("distil in int8", total=1.0) as task:
        report = distil_quantized(
            module,
            environment.guide,
            job.task,
            settings=_settings(job),
            generator=make_generator(job.seed + 1),
            initial_accuracy=found.score,
            on_step=shower(task, 1.0, job.task.score.name),
        )
    if report.stopped is StopReason.DIVERGED:
        job.progress.warning("The winner's training in int8 diverged; the best weights before that ship.")
    graph = finished(from_torch(module), form)
    score = validation_score(job, graph)
    ships = report.best_step > 0 and score >= found.score
    return replace(lowered, graph=graph if ships else lowered.graph, trained=report, scored=score, ships_trained=ships)


def _settings(job: Job) -> DistilSettings:
    """Give training in 8 bits what time is left, or its share of the epochs."""
    left_s, how = job.clock.left_s, job.settings.quantization
    return replace(
        job.settings.training,
        epochs=None if job.epochs is None else job.epochs * how.share,
        seconds=None if left_s is None else max(left_s, LEAST_SECONDS),
        peak_rate=how.peak_rate,
        adaptive=False,  # training in 8 bits chooses its own way
        features=0.0,
    )
