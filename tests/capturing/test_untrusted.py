"""Loading runs nothing: what is refused, and what the refusal says."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from deploycompress.capturing.allowlist import layer_class
from deploycompress.capturing.capture import capture
from deploycompress.errors import ModelError, UntrustedModelError, UsageError
from tests.capturing.build import INPUT_SHAPE, Net, save_program, save_torchscript, seeded_net


class Evil:
    """Touches a file when unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("form", ["archive", "legacy", "protocol 4"])
def test_pickle_that_calls_os_system_is_refused_without_running(tmp_path: Path, form: str) -> None:
    path, witness = tmp_path / "evil.pt", tmp_path / "witness"
    content = {"weight": torch.zeros(2), "payload": Evil(witness)}
    if form == "protocol 4":
        path.write_bytes(pickle.dumps(content, protocol=4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "archive")
    with pytest.raises(UntrustedModelError, match=r"(posix|nt)\.system.*--allow.*--trust"):
        capture(path, input_shape=INPUT_SHAPE, arch="torchvision:resnet18")
    assert not witness.exists()


def test_evil_inside_an_honest_module_is_refused_without_running(tmp_path: Path) -> None:
    net = torchvision.models.resnet18()
    net.extra = Evil(tmp_path / "witness")
    torch.save(net, tmp_path / "net.pt")
    with pytest.raises(UntrustedModelError, match=r"would load (posix|nt)\.system, which"):
        capture(tmp_path / "net.pt", input_shape=(1, 3, 32, 32))
    assert not (tmp_path / "witness").exists()


def test_pickled_torchvision_module_needs_no_trust(tmp_path: Path) -> None:
    torch.save(torchvision.models.mobilenet_v3_small(), tmp_path / "net.pt")
    graph = capture(tmp_path / "net.pt", input_shape=(1, 3, 32, 32))
    assert graph.outputs[0].shape == ("N", 1000)


def test_own_class_is_named_and_loads_with_allow(tmp_path: Path) -> None:
    torch.save(seeded_net(), tmp_path / "net.pt")
    with pytest.raises(UntrustedModelError, match=r"tests\.capturing\.build\.Net"):
        capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE)
    allowed = capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, allow=("tests.capturing.build:Net",))
    trusted = capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, trust=True)
    assert allowed.to_bytes() == trusted.to_bytes()


def test_class_of_a_training_script_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Net, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Net", Net, raising=False)
    torch.save(seeded_net(), tmp_path / "net.pt")
    monkeypatch.undo()
    graph = capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, allow=("tests.capturing.build:Net",))
    assert graph.outputs[0].shape == ("N", 5)


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.modules.module.os.system",  # dotted look-up through a module
        "torch.nn.modules.module.Any",  # re-exported
        "torch.nn.modules.module.register_module_forward_hook",  # a function
        "torch.nn.modules.conv.Tensor",  # a class of another module
        "torch.nn.modules.conv.Module",  # a layer, but not defined there
        "torch.nn.modules.Conv2d",  # the same class under another name
        "torchvision.models._api.get_model",
        "torchvision.models._api.WeightsEnum",
        "torchvision.models.resnet.resnet18",
        "torchvision.models.resnet.load_state_dict_from_url",
        "torchvision.models.feature_extraction.DualGraphModule",  # compiles code it carries
        "torchvision.ops.misc.Callable",
        "torch.nn.modules.nothing.Here",
        "torch.nn.modules.\x00.Here",
        "torch.nn.modulesx.conv.Conv2d",
        "torchvision.datasets.folder.ImageFolder",
        "os.system",
        "",
    ],
)
def test_allowlist_admits_no_more_than_layers(name: str) -> None:
    assert layer_class(name) is None


def test_allowlist_admits_layers() -> None:
    assert layer_class("torch.nn.modules.conv.Conv2d") is nn.Conv2d
    assert layer_class("torchvision.models.resnet.Bottleneck") is torchvision.models.resnet.Bottleneck


@pytest.mark.parametrize(
    "entry", ["os:system", "subprocess:Popen", "builtins:eval", "Net", "a:b:c", "tests.capturing.build:seeded_net"]
)
def test_allow_takes_model_classes_only(tmp_path: Path, entry: str) -> None:
    torch.save(seeded_net(), tmp_path / "net.pt")
    with pytest.raises(UsageError, match="--allow"):
        capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, allow=(entry,))


def test_programs_need_trust(tmp_path: Path) -> None:
    save_torchscript(seeded_net(), tmp_path / "script.pt")
    save_program(seeded_net(), tmp_path / "program.pt2", batch=2, dynamic=True)
    with pytest.raises(UntrustedModelError, match=r"TorchScript.*--trust"):
        capture(tmp_path / "script.pt", input_shape=INPUT_SHAPE)
    with pytest.raises(UntrustedModelError, match=r"\.pt2.*--trust"):
        capture(tmp_path / "program.pt2")


def test_archive_that_expands_a_thousandfold_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10_000_000))
    with pytest.raises(ModelError, match="would expand"):
        capture(tmp_path / "bomb.pt", input_shape=INPUT_SHAPE)
