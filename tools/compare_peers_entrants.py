"""Who competes, and how each student is cut from the teacher or built beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import UsageError
from deploycompress.execute.students import Students
from deploycompress.graph import Graph
from deploycompress.measuring import static
from deploycompress.plan import Plan
from deploycompress.search.space import Candidate
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.fold import fold_batch_norm
from deploycompress.surgery.slim import slim
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.scoring import score_channels
from tools import cifar_resnet
from tools.compare_peers_bench import INPUT_SHAPE, SEED, Bench
from tools.compare_peers_torch_pruning import Importance, PruneSettings, prune

SCORING_IMAGES = 256
Target = tuple[float, int | None]

REDUCTIONS = (2.08, 1.43)
# MAC reduction and rounding. Stage one is 16 wide, so rounding to 16 ends just below 1.7x where the streams stay.
TARGETS: tuple[Target, ...] = ((2.08, None), (2.08, 8), (1.65, 16), (1.43, None), (1.43, 8), (1.43, 16))
STREAM_TARGETS: tuple[Target, ...] = ((2.08, None), (2.08, 8), (2.08, 16))
SHARE_STEPS = 64  # of widths between nothing and everything, for uniform pruning


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A competitor.

    Attributes:
        name: of its files and rows.
        family: who made it: `torch-pruning`, `uniform`, `sibling` or `ours`.
        made: how, in words.
        make: gives its network, untrained since it was cut.
        is_random: whether its weights are random rather than the teacher's.
        peak_rate: highest learning rate where it is not the recipe's.
        plan: that cut it, for ours.
    """

    name: str
    family: str
    made: str
    make: Callable[[Bench], Graph]
    is_random: bool = False
    peak_rate: float | None = None
    plan: Plan | None = None


def entrants(plans: Mapping[str, Plan]) -> tuple[Entrant, ...]:
    """List all competitors, in the order in which they are trained.

    Args:
        plans: of our own, by the name of the competitor.
    """
    ours = [
        Entrant(
            name=name,
            family="ours",
            made=f"{len(plan.remove)} blocks removed, {len(plan.keep)} widths cut",
            make=partial(_planned, plan=plan),
            plan=plan,
        )
        for name, plan in plans.items()
    ]
    peers = [_pruned(target, importance) for target in TARGETS for importance in Importance]
    streams = [_pruned(target, importance, streams=True) for target in STREAM_TARGETS for importance in Importance]
    uniform = [
        Entrant(
            name=f"uniform-{reduction}",
            family="uniform",
            made="the same share of every width inside the blocks, our scores",
            make=partial(_uniform, reduction=reduction),
        )
        for reduction in REDUCTIONS
    ]
    siblings = [_sibling(3, None), _sibling(3, 0.1), _sibling(5, 0.1)]
    return (*peers, *streams, *ours, *uniform, *siblings)


def read_plans(named: Sequence[str]) -> dict[str, Plan]:
    """Read our plans from `name=path` pairs; a path is a plan or a `result.json` that holds one.

    Raises:
        UsageError: a pair is none.
        PlanError: a file holds no plan.
    """
    plans = {}
    for pair in named:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--plan {pair!r} is no NAME=PATH.")
        record = json.loads(Path(path).read_text("utf-8"))
        plans[name] = Plan.from_json(json.dumps(record.get("plan", record)))
    return plans


def _pruned(target: Target, importance: Importance, *, streams: bool = False) -> Entrant:
    reduction, rounding = target
    settings = PruneSettings(importance=importance, round_to=rounding, mac_reduction=reduction, prunes_streams=streams)
    rounded = "" if rounding is None else f", rounded to {rounding}"
    return Entrant(
        name=f"tp-{importance}-{rounding or 'none'}-{reduction}{'-streams' if streams else ''}",
        family="torch-pruning",
        made=f"global {importance}{rounded}, {'all widths' if streams else 'widths inside the blocks'}",
        make=lambda bench: capture(
            prune(bench.network, settings, lambda: iter(bench.batches(SCORING_IMAGES))), input_shape=INPUT_SHAPE
        ),
    )


def _planned(bench: Bench, *, plan: Plan) -> Graph:
    return slim(bench.graph, plan)


def _uniform(bench: Bench, *, reduction: float) -> Graph:
    """Cut the same share of every width inside the blocks, so that MACs come nearest to the target."""
    graph = bench.graph
    channels, most = trace_channels(graph), static.macs(fold_batch_norm(graph))
    scores = score_channels(
        Criterion.RECONSTRUCTION,
        bench.teacher,
        channels.ties,
        channels.count,
        bench.batches(SCORING_IMAGES),
        axes=channels.axes,
    )
    by_group = {
        group.name: tuple(float(score) for score in scores[channels.members_of(index)])
        for index, group in enumerate(channels.groups)
    }
    inner = [group for group in channels.free_groups if group.name.endswith("conv1") and "." in group.name]
    students = Students(graph, channels, blocks(graph))
    made: dict[float, Graph] = {}
    for step in range(1, SHARE_STEPS):
        widths = {group.name: max(1, round(step / SHARE_STEPS * group.width)) for group in inner}
        student = students.slim(graph, students.plan(Candidate(widths=widths), by_group))
        made[most / static.macs(fold_batch_norm(student))] = student
    return made[min(made, key=lambda found: abs(found - reduction))]


def _sibling(depth: int, rate: float | None) -> Entrant:
    layers = 6 * depth + 2
    return Entrant(
        name=f"sibling-resnet{layers}" + ("" if rate is None else f"-rate{rate}"),
        family="sibling",
        made=f"ResNet-{layers} from random weights" + ("" if rate is None else f", peak rate {rate}"),
        make=partial(_random, depth=depth),
        is_random=True,
        peak_rate=rate,
    )


def _random(bench: Bench, *, depth: int) -> Graph:
    """Build a shallower network of the same kind with random weights."""
    del bench
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(SEED)
        network = cifar_resnet.CifarResNet(depth)
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return capture(network.eval(), input_shape=INPUT_SHAPE)
