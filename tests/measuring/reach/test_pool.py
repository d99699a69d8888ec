"""Several boards share the work, and what one of them loses another does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploycompress.errors import MeasureError, ModelError, UsageError
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.pool import Pool
from deploycompress.measuring.reach.target import LOCAL, parse_target
from deploycompress.profile import Profile
from tests.measuring.networks import conv_net, endless_net
from tests.measuring.reach.sshd import SshServer

NewBoard = Callable[[], SshServer]


def python_target(name: str) -> str:
    """Give a target of this machine; the names make them different boards."""
    return f"exec:env BOARD={name} {sys.executable} -I -c {{bootstrap}}"


def pool_of(profile: Profile, *texts: str, grace_seconds: float | None = None) -> Pool:
    return Pool(profile, [parse_target(text) for text in texts], grace_seconds=grace_seconds)


def test_nothing_is_lost_when_one_of_two_boards_dies_half_way(new_board: NewBoard, profile: Profile) -> None:
    first, second = new_board(), new_board()
    models = [conv_net(8 + 2 * extra) for extra in range(10)]
    with pool_of(profile, first.target(), second.target()) as pool:
        dying = threading.Thread(target=kill_at_work, args=(first,))
        dying.start()
        found = pool.measure_all(models, baseline=conv_net(8), max_seconds=0.3)
        dying.join()
        assert len(pool.lost) == 1
        assert f"127.0.0.1:{first.port}" in pool.lost[0]
    assert all(isinstance(entry, Measurement) and entry.baseline_ns for entry in found)
    digests = [entry.model for entry in found if isinstance(entry, Measurement)]
    assert len(set(digests)) == len(models)


def kill_at_work(board: SshServer) -> None:
    deadline = time.monotonic() + 60
    while not board.agents() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)
    board.kill()


def test_no_board_left_is_an_error_that_says_why_of_each(new_board: NewBoard, profile: Profile) -> None:
    first, second = new_board(), new_board()
    first.kill()
    second.kill()
    with (
        pool_of(profile, first.target(), second.target()) as pool,
        pytest.raises(MeasureError, match=rf"No board is left.*{first.port}.*no ssh server.*{second.port}") as caught,
    ):
        pool.measure(conv_net(), max_seconds=0)
    assert caught.value.exit_code == 4


def test_a_model_that_fails_costs_itself_only(profile: Profile) -> None:
    hurried = profile.model_copy(update={"measure": profile.measure.model_copy(update={"max_seconds": 0.5})})
    with pool_of(hurried, python_target("a"), python_target("b"), grace_seconds=3) as pool:
        found = pool.measure_all([conv_net(), endless_net(), conv_net(8)], max_seconds=0)
        assert [type(entry) for entry in found] == [Measurement, FailedMeasurementError, Measurement]
        assert isinstance(found[1], FailedMeasurementError)
        assert found[1].kind is FailureKind.HANG
        assert not pool.lost


def test_a_board_that_cannot_be_started_leaves_its_work_to_the_others(profile: Profile) -> None:
    with pool_of(profile, "exec:/no/such/program {bootstrap}", python_target("b")) as pool:
        assert pool.measure(conv_net(), max_seconds=0).samples_ns
        assert "cannot be started here" in pool.lost[0]


def test_a_model_unfit_for_the_profile_is_refused_and_takes_no_board_out(profile: Profile) -> None:
    with pool_of(profile, python_target("a"), python_target("b")) as pool:
        with pytest.raises(ModelError, match="opset 99"):
            pool.measure_all([conv_net(), conv_net(opset=99)], max_seconds=0)
        assert not pool.lost
        assert pool.measure(conv_net(), max_seconds=0).samples_ns


def test_models_are_measured_together_on_one_board(profile: Profile) -> None:
    with pool_of(profile, python_target("a"), python_target("b")) as pool:
        first, second = pool.measure_together([conv_net(8), conv_net(32)], max_seconds=0)
    assert second.baseline == first.model
    assert second.ratio > 1


@pytest.fixture
def _hears_interrupts() -> Iterator[None]:
    """Undo what a shell does to a suite in the background: it makes it deaf to SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_hears_interrupts")
def test_an_interrupt_ends_all_boards(new_board: NewBoard, profile: Profile) -> None:
    first, second = new_board(), new_board()
    with pool_of(profile, first.target(), second.target()) as pool:
        interrupting = threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGINT))
        interrupting.start()
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            pool.measure_all([endless_net(), endless_net()], max_seconds=30)
        interrupting.join()
        assert time.monotonic() - begin < 15
    deadline = time.monotonic() + 10
    while (first.agents() or second.agents()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not first.agents()
    assert not second.agents()


def pretending(tmp_path: Path, line: str) -> str:
    """Give a target of this machine with an ONNX Runtime that a line of Python changes."""
    script = tmp_path / "pretend.py"
    script.write_text(f"import sys, onnxruntime\n{line}\nprogram = sys.argv[1]\nexec(program)\n")
    return f"exec:{sys.executable} -I {script} {{bootstrap}}"


def test_a_board_of_another_kind_is_not_used(profile: Profile, tmp_path: Path) -> None:
    other = pretending(tmp_path, "onnxruntime.__version__ = '1.30.0'")
    with pool_of(profile, python_target("a"), other) as pool:
        found = pool.measure_all([conv_net(8), conv_net(16), conv_net(24)], max_seconds=0)
        assert all(isinstance(entry, Measurement) for entry in found)
        assert len(pool.lost) == 1
        assert "another machine than the first of the pool" in pool.lost[0]


def test_a_board_in_another_power_mode_is_not_used(profile: Profile, tmp_path: Path) -> None:
    slow = pretending(
        tmp_path,
        "import pathlib; real = pathlib.Path.read_text; pathlib.Path.read_text = lambda path, *words, **more: "
        "'pmode:0002' if path.name == 'status' and path.parent.name == 'nvpmodel' else real(path, *words, **more)",
    )
    with pool_of(profile, python_target("a"), slow) as pool:
        found = pool.measure_all([conv_net(8), conv_net(16), conv_net(24)], max_seconds=0)
        modes = {entry.conditions.machine.power_mode for entry in found if isinstance(entry, Measurement)}
        assert modes in ({""}, {"2"})  # whichever board was asked first
        assert len(found) == 3
        assert len(pool.lost) == 1
        assert "another machine than the first of the pool" in pool.lost[0]
        assert "'2')" in pool.lost[0]


def test_a_board_without_the_provider_leaves_its_work_to_the_others(profile: Profile, tmp_path: Path) -> None:
    bare = pretending(tmp_path, "onnxruntime.get_available_providers = lambda: ['SomeExecutionProvider']")
    with pool_of(profile, bare, python_target("b")) as pool:
        assert pool.measure(conv_net(), max_seconds=0).samples_ns
        assert "has only SomeExecutionProvider" in pool.lost[0]


def test_a_pool_needs_different_targets(profile: Profile) -> None:
    with pytest.raises(UsageError, match="different targets, got none"):
        Pool(profile, [])
    with pytest.raises(UsageError, match="local, local"):
        Pool(profile, [LOCAL, LOCAL])
