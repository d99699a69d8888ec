"""The comparison with peers trains everybody on equal images, cuts soundly, and its tables say what its records say."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deploycompress.capturing.capture import capture
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.measuring import static
from deploycompress.plan import Plan
from deploycompress.search.engine import Proposal
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.space import Candidate
from deploycompress.surgery.shipped import shipped_form
from tests.shared import SHARED, needs_shared
from tools.cifar_resnet import CifarResNet
from tools.compare_peers import cut_all, train_all
from tools.compare_peers_bench import INPUT_SHAPE, Bench
from tools.compare_peers_entrants import entrants, read_plans
from tools.compare_peers_page import write_page
from tools.compare_peers_records import (
    LATENCIES,
    Cut,
    Latencies,
    Latency,
    Trained,
    cut_path,
    read_cut,
    read_trained,
    require_equal_images,
    trained_path,
    write_record,
)
from tools.compare_peers_search import best_under
from tools.compare_peers_torch_pruning import Importance, PruneSettings, prune, with_projections
from tools.compare_peers_train import settings_for
from tools.marked_page import filled

needs_torch_pruning = pytest.mark.skipif(
    importlib.util.find_spec("torch_pruning") is None, reason="torch-pruning (extra `peers`) is not installed"
)

CUT = Cut(
    name="tp-taylor-8-2.08",
    family="torch-pruning",
    made="global taylor",
    structure="s1",
    macs=50_000_000,
    mac_reduction=2.5,
    params=400_000,
    seconds=1.0,
    commit="abc",
)
TRAINED = Trained(
    name=CUT.name,
    recipe="plain",
    images=1000,
    images_seen=896,
    batch_size=128,
    settings={
        "batch_size": 128,
        "peak_rate": 0.0,
        "warm_up": 0.2,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "checks": 8,
        "augments": True,
        "loss": {},
    },
    before=0.5,
    validation=0.93,
    test=0.9012,
    best_step=7,
    stopped="finished",
    structure="s1",
    macs=50_000_000,
    params=400_000,
    seconds=60.0,
    threads=1,
    compute="cpu fp32 channels_last",
    commit="abc",
)


@pytest.fixture
def network() -> CifarResNet:
    """Give a small network with random weights and statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        made = CifarResNet(1)
        for part in made.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                assert part.running_var is not None
                part.running_var.uniform_(0.5, 1.5)
    return made.eval()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Give a folder with two competitors that are trained and measured."""
    ours = replace(CUT, name="ours-0.5", family="ours", structure="s2", mac_reduction=2.0)
    mine = replace(TRAINED, name="ours-0.5", structure="s2", test=0.9212)
    for cut, trained in ((CUT, TRAINED), (ours, mine)):
        write_record(cut_path(tmp_path, cut.name), cut)
        write_record(trained_path(tmp_path, cut.name, images=1000, recipe="plain"), trained)
    of = {
        "s1": Latency(median_ms=2.0, ratio=0.8, low=0.79, high=0.81),
        "s2": Latency(median_ms=1.0, ratio=0.4, low=0.39, high=0.41),
    }
    told = Latencies(
        teacher_ms=2.5, of=of, machine="a machine", onnxruntime="1.2.3", threads=1, starts=7, samples=70,
        confidence=0.95, settled=True, taken="2026-01-02", commit="abc",
    )  # fmt: skip
    write_record(tmp_path / LATENCIES, told)
    return tmp_path


def test_a_projection_computes_what_the_padded_shortcut_computes(network: CifarResNet) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(with_projections(network).eval()(images), network(images))


@needs_torch_pruning
@pytest.mark.parametrize("importance", list(Importance))
@pytest.mark.parametrize("streams", [False, True])
def test_torch_pruning_reaches_its_target_in_widths_as_asked(
    network: CifarResNet, importance: Importance, streams: bool
) -> None:
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    asked = PruneSettings(importance=importance, round_to=8, mac_reduction=1.3, prunes_streams=streams, steps=40)
    student = prune(network, asked, _batches)
    teacher, cut = (shipped_form(capture(one, input_shape=INPUT_SHAPE)) for one in (network, student))
    assert static.macs(teacher) / static.macs(cut) >= (1.29 if streams else 1.3)  # projections cost, too
    widths = {name: part.out_channels for name, part in student.named_modules() if isinstance(part, nn.Conv2d)}
    inner = [width for name, width in widths.items() if name.endswith(".conv1")]
    assert len(inner) == 3
    assert all(width % 8 == 0 for width in inner)
    if not streams:
        assert sum(inner) < 16 + 32 + 64
        assert [width for name, width in widths.items() if name.endswith("conv2")] == [16, 32, 64]
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


@needs_torch_pruning
def test_a_target_beyond_reach_is_refused(network: CifarResNet) -> None:
    asked = PruneSettings(
        importance=Importance.MAGNITUDE, round_to=16, mac_reduction=9.0, prunes_streams=False, steps=20
    )
    with pytest.raises(UsageError, match="lower target"):
        prune(network, asked, _batches)


def test_everybody_sees_as_many_images_in_whole_batches() -> None:
    seen = {}
    for entrant in entrants({"ours-0.5": Plan()}):
        settings = settings_for(entrant, images=1000, recipe="plain")
        assert settings.steps is not None
        seen[entrant.name] = settings.steps * settings.batch_size
    assert len(seen) > 10
    assert set(seen.values()) == {896}


def test_our_recipe_is_nobody_elses() -> None:
    ours, peer = (next(one for one in entrants({"o": Plan()}) if one.family == kind) for kind in ("ours", "uniform"))
    assert settings_for(ours, images=1000, recipe="ours").steps
    with pytest.raises(UsageError, match="ours alone"):
        settings_for(peer, images=1000, recipe="ours")


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(UsageError, match="one batch"):
        settings_for(entrants({})[0], images=5, recipe="plain")


@pytest.mark.parametrize("change", [{"images_seen": 768}, {"images_seen": 1024}, {"images": 2000, "images_seen": 1920}])
def test_unequal_images_are_not_compared(change: dict[str, Any]) -> None:  # Any: of any field
    require_equal_images([TRAINED, replace(TRAINED, batch_size=64, images_seen=960)])
    with pytest.raises(UsageError, match="images"):
        require_equal_images([TRAINED, replace(TRAINED, name="other", **change)])


def test_a_run_that_saw_fewer_images_is_kept_out_of_the_table(out: Path, tmp_path: Path) -> None:
    short = replace(TRAINED, images_seen=128, stopped="diverged")
    write_record(trained_path(out, CUT.name, images=1000, recipe="plain"), short)
    with pytest.raises(UsageError, match="diverged"):
        write_page(out, images=1000, docs=tmp_path / "docs")


def test_the_page_says_what_the_records_say(out: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    docs = tmp_path / "docs"
    write_page(out, images=1000, docs=docs)
    lines = (docs / "benchmarks.md").read_text().splitlines()
    peer = next(line for line in lines if line.startswith("| tp-taylor-8-2.08 |") and "90.12%" in line)
    # 1.25 times the speed with 2.5 times fewer MACs is half of what was promised
    assert all(cell in peer for cell in ("| 0.800 (0.790 to 0.810) |", "| 1.25x |", "| 2.50x |", "| 0.50 |", "| 896 |"))
    assert next(line for line in lines if line.startswith("| ours-0.5 |")).count("| 1.25 |") == 1
    assert any("+2.00 points" in line for line in lines)
    assert (docs / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


def test_what_people_wrote_stays_when_the_page_is_made_again(out: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    docs = tmp_path / "docs"
    write_page(out, images=1000, docs=docs)
    page = docs / "benchmarks.md"
    page.write_text(page.read_text() + "\nA reading.\n")
    write_record(trained_path(out, CUT.name, images=1000, recipe="plain"), replace(TRAINED, test=0.8765))
    write_page(out, images=1000, docs=docs)
    assert page.read_text().endswith("\nA reading.\n")
    assert "87.65%" in page.read_text()
    assert "90.12%" not in page.read_text()


def test_untrained_students_are_in_the_speed_table_alone(out: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write_page(out, images=77, docs=docs)
    text = (docs / "benchmarks.md").read_text()
    assert "| tp-taylor-8-2.08 | global taylor | 2.50x | 400,000 | 1.25x | 0.50 |" in text
    assert "No student is trained yet." in text


def test_a_latency_that_was_disturbed_is_not_shown(out: Path, tmp_path: Path) -> None:
    told = json.loads((out / LATENCIES).read_text())
    told["of"]["s1"]["high"] = 0.9
    (out / LATENCIES).write_text(json.dumps(told))
    write_page(out, images=77, docs=tmp_path / "docs")
    text = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "| tp-taylor-8-2.08 | global taylor | 2.50x | 400,000 | - | - |" in text
    assert "| ours-0.5 | global taylor | 2.00x | 400,000 | 2.50x | 1.25 |" in text


def test_a_page_without_measurement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="latency"):
        write_page(tmp_path, images=1000, docs=tmp_path)


def test_an_unknown_mark_is_refused() -> None:
    with pytest.raises(UsageError, match="'other'"):
        filled("<!-- made by some.py: other -->\n<!-- end -->", {"settings": ""}, tool="some.py")


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", CUT)
    write_record(tmp_path / "b.json", TRAINED)
    assert read_cut(tmp_path / "a.json") == CUT
    assert read_trained(tmp_path / "b.json") == TRAINED
    with pytest.raises(UsageError, match="no Cut record"):
        read_cut(tmp_path / "b.json")


def test_the_longest_trained_student_near_a_limit_is_ours() -> None:
    found = [
        _entry(0.49, 0.7),
        _entry(0.48, 0.7, 0.8),
        _entry(0.47, 0.6, 0.85),
        _entry(0.51, 0.9, 0.95),
        _entry(0.2, 0.9),
    ]
    assert best_under(found, 0.5) is found[2]
    assert best_under([_entry(0.45), _entry(0.49), _entry(0.52)], 0.5) == _entry(0.49)
    assert best_under(found, 0.8) is None


def test_a_plan_is_read_alone_or_out_of_a_result(tmp_path: Path) -> None:
    plan = Plan(remove=("a",))
    alone, result = tmp_path / "plan.json", tmp_path / "result.json"
    alone.write_text(plan.to_json())
    result.write_text(json.dumps({"schema": 1, "plan": json.loads(plan.to_json())}))
    assert read_plans([f"ours-x={alone}", f"ours-y={result}"]) == {"ours-x": plan, "ours-y": plan}
    with pytest.raises(UsageError, match="NAME=PATH"):
        read_plans(["nothing"])


@pytest.mark.slow
@needs_shared
def test_uniform_and_sibling_go_through_on_the_real_data(tmp_path: Path) -> None:
    known = {entrant.name: entrant for entrant in entrants({})}
    bench = Bench(SHARED)
    cut_all(tmp_path, bench, [known["uniform-2.08"]])
    uniform = read_cut(cut_path(tmp_path, "uniform-2.08"))
    assert uniform.mac_reduction == pytest.approx(2.08, rel=0.1)
    train_all(tmp_path, bench, [known["sibling-resnet20"]], images=300, recipe="plain")
    path = trained_path(tmp_path, "sibling-resnet20", images=300, recipe="plain")
    sibling = read_trained(path)
    assert sibling.images_seen == 256
    assert 0.0 < sibling.test < 0.5  # two steps from random weights
    assert sibling.params == static.params(capture(path.with_suffix(".onnx")))
    path.write_text("kept")
    train_all(tmp_path, bench, [known["sibling-resnet20"]], images=300, recipe="plain")
    assert path.read_text() == "kept"


def _batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    yield torch.rand(8, 3, 32, 32, generator=generator), torch.arange(8)


def _entry(ratio: float, *climb: float) -> TraceEntry:
    return TraceEntry(
        key=f"{ratio}",
        proposal=Proposal(candidate=Candidate(), step=0),
        plan=Plan(),
        evaluation=Evaluation(metrics={"latency_ratio": ratio}, teacher_accuracy=0.9, climb=climb),
        reward=0.0,
    )
