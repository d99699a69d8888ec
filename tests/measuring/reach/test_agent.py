"""The agent as a process: models by digest, the lock between processes, options it does not take, a full disk."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploycompress.errors import MeasureError
from deploycompress.measuring.agent.frames import TO_HOST, Message, frame_parts, read_frame
from deploycompress.measuring.agent.lock import NAME_VARIABLE
from deploycompress.measuring.agent.models import ModelStore
from deploycompress.measuring.agent.options import require_harmless
from deploycompress.measuring.agent.refusal import RefusedError
from deploycompress.measuring.agent.serve import DISK_TROUBLE, _refusal
from deploycompress.measuring.failure import FailedMeasurementError
from deploycompress.measuring.process import MeasuringProcess
from deploycompress.measuring.reach.bundle import BOOTSTRAP, bundle
from deploycompress.measuring.reach.failures import BusyDeviceError, UnfitDeviceError
from deploycompress.measuring.reach.target import LOCAL, parse_target
from tests.measuring.networks import conv_net, endless_net, heavy_weights_net
from tests.measuring.reach.asking import SETUP, activation_peak

ENVELOPE: Message = {"memory_limit_bytes": None, "busy_seconds": 60.0, "lifetime_seconds": 60.0}


class RawAgent:
    """An agent asked frame by frame, without what the host's side checks and repeats."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(LOCAL.argv(BOOTSTRAP), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._requests.write(bundle([entry for entry in sys.path if entry]))

    def ask(self, request: Message, *blobs: bytes) -> Message:
        for part in frame_parts({**ENVELOPE, "models": [], "sent": [], **request}, blobs):
            self._requests.write(part)
        self._requests.flush()
        while True:
            reply, _ = read_frame(self._answers.read, TO_HOST)
            if "progress" not in reply:
                return reply

    @property
    def pid(self) -> int:
        return self._process.pid

    def pipes(self) -> set[str]:
        return {str(Path(f"/proc/self/fd/{pipe.fileno()}").readlink()) for pipe in (self._requests, self._answers)}

    def close(self) -> int:
        self._requests.close()
        code = self._process.wait(timeout=20)
        self._answers.close()
        return code


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_model_that_changed_on_the_way_is_refused() -> None:
    agent = RawAgent()
    model, other = conv_net(), conv_net(8)
    request = {"command": "activation_peak", "setup": SETUP, "models": [digest_of(model)], "sent": [digest_of(model)]}
    reply = agent.ask(request, other)
    assert reply["refused"] == "transfer"
    assert digest_of(other)[:16] in reply["sentence"]
    assert agent.ask({**request, "sent": []}) == {"missing": [digest_of(model)]}
    assert agent.ask(request, model)["bytes"] > 0
    assert agent.ask({**request, "sent": []})["bytes"] > 0
    assert agent.close() == 0


def test_an_option_that_names_files_is_refused_by_the_agent() -> None:
    process = MeasuringProcess()
    for setup in (
        {**SETUP, "session": {"ep.context_file_path": "/tmp/x"}},
        {**SETUP, "provider_options": {"CPUExecutionProvider": {"trt_extra_plugin_lib_paths": "/tmp/x.so"}}},
    ):
        with pytest.raises(MeasureError, match="names or makes files"):
            process.ask({"command": "latency", "setups": [setup]}, conv_net(), timeout_seconds=20)
    process.close()


@pytest.mark.parametrize(
    "key", ["intra_op_num_threads", "session.intra_op.allow_spinning", "trt_profile_min_shapes", "use_tf32"]
)
def test_options_that_are_about_speed_are_taken(key: str) -> None:
    require_harmless({"setups": [{"session": {key: "1"}, "provider_options": {"X": {key: "1"}}}]})


@pytest.mark.parametrize(
    "key", ["backend_path", "session.optimized_model_external_initializers_file_name", "cache_dir"]
)
def test_options_that_touch_files_are_found_however_deep(key: str) -> None:
    with pytest.raises(RefusedError, match=key):
        require_harmless({"models": ["x"], "setups": [{}, {"provider_options": {"X": {key: "1"}}}]})


def test_the_store_keeps_what_was_used_last() -> None:
    blobs = {digest_of(data): data for data in (b"a" * 40, b"b" * 40, b"c" * 40)}
    first, second, third = blobs
    store = ModelStore(limit_bytes=100)
    store.put(blobs.keys(), blobs.values())
    assert store.take([first]) == [blobs[first]]
    assert store.evict([]) == [second]
    assert store.missing([first, second, third]) == [second]
    store.put([second], [blobs[second]])
    assert store.evict([first, second, third]) == []
    assert store.forget([third, third]) == [third]


def test_what_the_agent_dropped_is_sent_again() -> None:
    process = MeasuringProcess()
    model = conv_net()
    rss = {"command": "peak_rss", "setup": SETUP, "runs": 1}
    sizes = [process.ask(rss, model, timeout_seconds=30)["bytes"] for _ in range(2)]  # forgotten after each
    assert min(sizes) > 0
    assert activation_peak(process, model) > 0
    process.close()


def test_resident_memory_does_not_count_the_models_bytes_twice() -> None:
    mebibytes = 64
    sizes = []
    for model in (conv_net(), heavy_weights_net(mebibytes)):
        process = MeasuringProcess()
        request = {"command": "peak_rss", "setup": SETUP, "runs": 1}
        sizes.append(process.ask(request, model, timeout_seconds=60)["bytes"])
        process.close()
    assert 0.8 * mebibytes < (sizes[1] - sizes[0]) / 2**20 < 1.5 * mebibytes


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever else measures on this machine have another lock."""
    monkeypatch.setenv(NAME_VARIABLE, f"test-{os.getpid()}")


@pytest.mark.usefixtures("undisturbed")
def test_two_processes_never_measure_at_once_and_the_one_that_waits_learns_who_does() -> None:
    working, waiting = MeasuringProcess(), MeasuringProcess(busy_seconds=0.5)
    failures: list[FailedMeasurementError] = []

    def work() -> None:
        try:
            activation_peak(working, endless_net(), timeout_seconds=60)
        except FailedMeasurementError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(1.0)
    with pytest.raises(BusyDeviceError, match=rf"measured on for 0.5 s by process {working.pid} of user") as caught:
        activation_peak(waiting, conv_net())
    assert caught.value.exit_code == 4
    os.kill(working.pid, signal.SIGKILL)
    thread.join()
    assert failures
    working.close()
    assert activation_peak(waiting, conv_net()) > 0
    waiting.close()


@pytest.mark.usefixtures("undisturbed")
def test_waiting_for_the_device_does_not_count_as_hanging() -> None:
    working, waiting = MeasuringProcess(), MeasuringProcess(busy_seconds=60)
    killer = threading.Timer(4.0, os.kill, (working.pid, signal.SIGKILL))

    def work() -> None:
        with pytest.raises(FailedMeasurementError):
            activation_peak(working, endless_net())

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    killer.start()
    assert activation_peak(waiting, conv_net(), timeout_seconds=2.5) > 0
    for started in (thread, killer):
        started.join()
    for process in (working, waiting):
        process.close()


def test_files_lie_in_a_folder_that_goes_with_the_process(tmp_path: Path) -> None:
    process = MeasuringProcess(parse_target(f"exec:env TMPDIR={tmp_path} {sys.executable} -I -c {{bootstrap}}"))
    assert len(list(tmp_path.iterdir())) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.close()
    deadline = time.monotonic() + 10
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list(tmp_path.iterdir())


def full_disk_target(folder: Path) -> str:
    """Give a target whose folder for temporary files is a file system of its own, with one page left."""
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=64k none {folder}"
    if subprocess.run([*words, mount], capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here, not even in a namespace of its own")
    filled = f"{mount}; head -c 61440 /dev/zero >{folder}/filler; exec env TMPDIR={folder}"
    return f"exec:{' '.join(words)} '{filled} {sys.executable} -I -c {{bootstrap_quoted}}'"


def test_a_full_disk_is_the_devices_fault(tmp_path: Path) -> None:
    process = MeasuringProcess(parse_target(full_disk_target(tmp_path)))
    for command in ("peak_rss", "activation_peak"):
        with pytest.raises(UnfitDeviceError, match=r"cannot keep temporary files.*: 0 MiB are free"):
            process.ask({"command": command, "setup": SETUP, "runs": 1}, conv_net(32, 8), timeout_seconds=30)
    process.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_that_tidies_up_holds_nothing_of_the_connection() -> None:
    agent = RawAgent()
    agent.ask({"command": "hello"})
    helpers = [folder for folder in Path("/proc").glob("[0-9]*") if parent_of(folder) == agent.pid]
    held = {str(entry.readlink()) for helper in helpers for entry in (helper / "fd").iterdir()}
    assert len(helpers) == 1
    assert held
    assert not held & agent.pipes()
    assert agent.close() == 0


def parent_of(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended
        return 0


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOENT, errno.EMFILE])
def test_what_the_system_refuses_is_no_full_disk_and_no_models_fault(code: int) -> None:
    refusal = _refusal(OSError(code, os.strerror(code)))
    assert refusal["refused"] == "device"
    assert os.strerror(code) in refusal["sentence"]
    assert "temporary files" not in refusal["sentence"]


@pytest.mark.parametrize("code", sorted(DISK_TROUBLE))
def test_a_full_or_readonly_disk_is_named(code: int) -> None:
    assert "cannot keep temporary files" in _refusal(OSError(code, os.strerror(code)))["sentence"]
