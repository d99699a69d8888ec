"""Which runs the search benchmark consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploycompress.search.n2n.settings import Method
from deploycompress.search.reward import Quantity, RewardKind
from deploycompress.search.schedules import Annealing

Options = Mapping[str, Any]  # Any: settings of different types


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One search.

    Attributes:
        name: of its files.
        teacher: `resnet20` or `resnet56`.
        engine: name.
        seed: of the engine.
        evaluations: how many.
        constraints: what must hold.
        settings: of the engine, where they are not its own.
        reward: likewise.
        policy: file with the policy to start from, in the results' folder; empty for none.
        saves_policy: whether the policy is written at the end.
        distils: whether the best student is distilled at the end.
        rungs: of the ladder; 1 judges after recalibration alone.
    """

    name: str
    teacher: str
    engine: str
    seed: int
    evaluations: int
    constraints: tuple[str, ...]
    settings: Options = field(default_factory=dict)
    reward: Options = field(default_factory=lambda: {"annealing": Annealing.HARD})
    policy: str = ""
    saves_policy: bool = False
    distils: bool = True
    rungs: int = 3

    @property
    def needs(self) -> tuple[str, ...]:
        """Files that must be there before."""
        return (self.policy,) if self.policy else ()

    def settings_with(self, out: Path) -> dict[str, Any]:
        """Give the engine's settings, with the policy to start from."""
        if not self.policy:
            return dict(self.settings)
        from deploycompress.search.n2n import load_policies
        from deploycompress.search.n2n.policy_file import to_text

        return {**self.settings, "policies": to_text(load_policies(out / self.policy))}


ALL = ("random", "uniform", "greedy", "evolution", "rl-pruner", "n2n", "joint")
LEARNED = ("random", "greedy", "rl-pruner", "n2n", "joint")
HARD = {"annealing": Annealing.HARD}
COMPRESSING = {"quantity": Quantity.LATENCY, "annealing": Annealing.HARD}


def _compared(teacher: str, engines: tuple[str, ...], seeds: int, evaluations: int, limit: str) -> list[Run]:
    return [
        Run(
            name=f"{teacher}-{engine}-{seed}",
            teacher=teacher,
            engine=engine,
            seed=seed,
            evaluations=evaluations,
            constraints=(limit,),
            saves_policy=engine == "n2n",
        )
        for seed in range(seeds)
        for engine in engines
    ]


def _transfers() -> list[Run]:
    """List ten updates with and without the other teacher's policy, as in N2N's table 5."""
    runs = []
    for teacher, other, limit in (("resnet56", "resnet20", 0.5), ("resnet20", "resnet56", 0.6)):
        for seed in range(3):
            source = f"{other}-n2n-{seed % (3 if other == 'resnet20' else 2)}.policy.safetensors"
            for start, policy in (("scratch", ""), ("transfer", source)):
                runs.append(
                    Run(
                        name=f"{teacher}-{start}-{seed}",
                        teacher=teacher,
                        engine="n2n",
                        seed=100 + seed,
                        evaluations=50,
                        constraints=(f"latency_ratio <= {limit}",),
                        settings={"removal_share": 1.0},
                        policy=policy,
                        distils=False,
                        rungs=1,
                    )
                )
    return runs


def _variants() -> list[Run]:
    """List single changes to N2N on ResNet-20."""
    limit = ("latency_ratio <= 0.6",)
    named: dict[str, tuple[Options, Options, tuple[str, ...]]] = {
        "actor-critic": ({"method": Method.ACTOR_CRITIC}, HARD, limit),
        "annealed": ({"meets_limits": False}, {"annealing": Annealing.LINEAR}, limit),
        "hard": ({"meets_limits": False}, HARD, limit),
        "c2c": ({"meets_limits": False}, {**COMPRESSING, "kind": RewardKind.N2N}, ("latency_ratio <= 0.9",)),
        "naive": ({"meets_limits": False}, {**COMPRESSING, "kind": RewardKind.NAIVE}, ("latency_ratio <= 0.9",)),
    }
    return [
        Run(
            name=f"variant-{name}-{seed}",
            teacher="resnet20",
            engine="n2n",
            seed=seed,
            evaluations=100 if name == "actor-critic" else 50,
            constraints=rows,
            settings=settings,
            reward=reward,
            distils=False,
        )
        for seed in range(1)
        for name, (settings, reward, rows) in named.items()
    ]


SUITES: Mapping[str, list[Run]] = {
    "resnet20": _compared("resnet20", ALL, 3, 100, "latency_ratio <= 0.6"),
    "resnet56": _compared("resnet56", LEARNED, 2, 80, "latency_ratio <= 0.5"),
    "transfer": _transfers(),
    "variants": _variants(),
}
