"""What a start from another teacher's policy brings N2N, and what its single choices bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from tools.search_benchmark_comparison import best_reward, by_seed, missing, table
from tools.search_benchmark_records import Record, Update
from tools.search_benchmark_statistics import paired
from tools.search_benchmark_suites import SUITES

Records = Mapping[str, Record]
Value = Callable[[Record], float | None]

UPDATES, PARTS = 10, 5
SEEDS, VARIANT_SEEDS = (0, 1, 2), (0, 1)
STARTS = {"scratch": "new", "transfer": "from the other teacher"}
FIFTHS = tuple(f"updates {part * 2 + 1}-{part * 2 + 2}" for part in range(PARTS))
HEAD = ("teacher", "policy", "reward", *FIFTHS, "broke the limit", "accuracy", "untrained", "latency ratio")


def reward_over(updates: Sequence[Update]) -> float | None:
    """Average the rewards of all evaluations, -1 for those that broke a limit."""
    return _weighted([(one.reward, one.evaluations) for one in updates])


def broken_over(updates: Sequence[Update]) -> float | None:
    """Give the share of the evaluations that broke a limit or failed."""
    total = sum(one.evaluations for one in updates)
    return 1 - sum(one.feasible for one in updates) / total if total else None


def accuracy_over(updates: Sequence[Update]) -> float | None:
    """Average the foreseen accuracies of the students that meet the limits."""
    return _weighted([(one.accuracy, one.feasible) for one in updates])


def untrained_over(updates: Sequence[Update]) -> float | None:
    """Average the accuracies after recalibration alone of the students that meet the limits."""
    return _weighted([(one.untrained, one.feasible) for one in updates])


def ratio_over(updates: Sequence[Update]) -> float | None:
    """Average the latency ratios of all students that could be measured."""
    return _weighted([(one.ratio, one.measured) for one in updates])


def transfer(records: Records, under_way: Mapping[str, int]) -> str:
    """Lay out the first updates with and without a policy from the other teacher, and say what it brought."""
    teachers = list(dict.fromkeys(job.teacher for job in SUITES["transfer"]))
    rows = [_transfer_row(teacher, start, records) for teacher in teachers for start in STARTS]
    said = [_transfer_words(teacher, records) for teacher in teachers]
    note = "Differences are of runs with the same seed, ± their standard error."
    parts = (table(HEAD, rows), "\n".join(filter(None, said)), note, missing(SUITES["transfer"], records, under_way))
    return "\n\n".join(filter(None, parts))


def learning(records: Records, under_way: Mapping[str, int]) -> str:
    """Compare actor-critic with REINFORCE."""
    return _choice(
        records,
        under_way,
        "Actor-critic against REINFORCE (difference: actor-critic minus REINFORCE)",
        ("variant-actor-critic", "resnet20-n2n"),
        (
            ("mean accuracy of all students that meet the limit", lambda run: accuracy_over(run.updates), ".3f"),
            ("of the last quarter's", lambda run: accuracy_over(last_quarter(run)), ".3f"),
            ("best reward", best_reward, ".3f"),
        ),
    )


def constraining(records: Records, under_way: Mapping[str, int]) -> str:
    """Compare annealed with hard constraints, on policies that nobody brings to the limit."""
    return _choice(
        records,
        under_way,
        "Annealed against hard constraints, no rollout being brought to the limit (difference: annealed minus hard)",
        ("variant-annealed", "variant-hard"),
        (
            ("share of the students that break the limit", lambda run: broken_over(run.updates), ".3f"),
            ("of the last quarter's", lambda run: broken_over(last_quarter(run)), ".3f"),
            ("best reward of a student that meets it", best_reward, ".3f"),
        ),
    )


def compressing(records: Records, under_way: Mapping[str, int]) -> str:
    """Compare the paper's reward with the one it argues against."""
    return _choice(
        records,
        under_way,
        "A reward with C(2-C) against one with C (difference: the former minus the latter)",
        ("variant-c2c", "variant-naive"),
        (
            ("accuracy of the last quarter's students", lambda run: accuracy_over(last_quarter(run)), ".3f"),
            ("latency ratio of the last quarter's students", lambda run: ratio_over(last_quarter(run)), ".3f"),
            ("latency ratio of the best student", lambda run: run.ratio, ".3f"),
        ),
    )


def last_quarter(record: Record) -> tuple[Update, ...]:
    """Give the last quarter of a run's updates, at least one."""
    return record.updates[-max(len(record.updates) // 4, 1) :]


def _transfer_row(teacher: str, start: str, records: Records) -> list[str]:
    runs = [records.get(f"{teacher}-{start}-{seed}") for seed in SEEDS]
    found = [() if run is None else run.updates[:UPDATES] for run in runs]

    def cell(value: Callable[[Sequence[Update]], float | None], form: str) -> str:
        return by_seed([value(updates) for updates in found], form)

    length = UPDATES // PARTS
    fifths = [
        by_seed([reward_over(updates[part * length : (part + 1) * length]) for updates in found], ".3f")
        for part in range(PARTS)
    ]
    return [
        *(teacher.replace("resnet", "ResNet-"), STARTS[start], cell(reward_over, ".3f"), *fifths),
        *(cell(broken_over, ".0%"), cell(accuracy_over, ".3f"), cell(untrained_over, ".3f"), cell(ratio_over, ".3f")),
    ]


def _transfer_words(teacher: str, records: Records) -> str:
    pairs = [(f"{teacher}-transfer-{seed}", f"{teacher}-scratch-{seed}") for seed in SEEDS]
    windows = ((f"first {UPDATES} updates", UPDATES), ("first two", UPDATES // PARTS))
    said = []
    for words, count in windows:
        found = _gap(pairs, records, lambda run, count=count: reward_over(run.updates[:count]))  # type: ignore[misc]
        if found:
            said.append(f"reward over the {words} {found}")
    return f"* {teacher.replace('resnet', 'ResNet-')}, transfer minus new: {'; '.join(said)}." if said else ""


def _choice(
    records: Records,
    under_way: Mapping[str, int],
    title: str,
    stems: tuple[str, str],
    quantities: Sequence[tuple[str, Value, str]],
) -> str:
    pairs = [(f"{stems[0]}-{seed}", f"{stems[1]}-{seed}") for seed in VARIANT_SEEDS]
    said = []
    for words, value, form in quantities:
        first, second = (
            [None if name not in records else value(records[name]) for name in names]
            for names in zip(*pairs, strict=True)
        )
        gap = _gap(pairs, records, value) or "not known yet"
        said.append(f"* {words}: {by_seed(first, form)} against {by_seed(second, form)}; {gap}")
    names = {name for pair in pairs for name in pair}
    jobs = [job for suite in ("resnet20", "variants") for job in SUITES[suite] if job.name in names]
    return "\n\n".join(filter(None, (f"**{title}**", "\n".join(said), missing(jobs, records, under_way))))


def _gap(pairs: Sequence[tuple[str, str]], records: Records, value: Value) -> str:
    both = [(value(records[one]), value(records[other])) for one, other in pairs if {one, other} <= records.keys()]
    known = [(one, other) for one, other in both if one is not None and other is not None]
    if not known:
        return ""
    found = paired(*(list(side) for side in zip(*known, strict=True)))
    return "" if found is None else found.plain_words


def _weighted(found: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in found if value is not None and weight]
    if not known:
        return None
    return fmean([value for value, _ in known], [weight for _, weight in known])
