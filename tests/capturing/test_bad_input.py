"""Files and options that cannot work: one clear sentence each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from deploycompress.capturing.capture import capture
from deploycompress.errors import ModelError, UsageError
from tests.capturing.build import INPUT_SHAPE, exported_onnx, seeded_net

ARCH = "tests.capturing.build:seeded_net"


def tiny_model(
    op: str = "Relu", *, domain: str = "", opset: int = 17, shape: tuple[int | str, ...] = ("N", 4)
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], domain=domain)],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return model


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"hello, world", "no model format"),
        (b"PK\x03\x04 and then nothing", "truncated or damaged"),
        (b"\x80\x02 and then nothing", "damaged"),
        (b"\x08\xff\xff", "cannot be read as ONNX"),
        (b"\x08\x07", "no nodes"),
    ],
)
def test_file_that_is_no_model_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        capture(path, input_shape=INPUT_SHAPE)


def test_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a file"):
        capture(tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_checkpoint_at_every_length(tmp_path: Path, legacy: bool) -> None:
    torch.save(seeded_net().state_dict(), tmp_path / "whole.pt", _use_new_zipfile_serialization=not legacy)
    whole = (tmp_path / "whole.pt").read_bytes()
    for length in range(1, len(whole), len(whole) // 40):
        (tmp_path / "part.pt").write_bytes(whole[:length])
        with pytest.raises(ModelError):
            capture(tmp_path / "part.pt", input_shape=INPUT_SHAPE, arch=ARCH)


def test_truncated_onnx_at_every_length(tmp_path: Path) -> None:
    whole = exported_onnx(seeded_net()).SerializeToString()
    for length in range(1, len(whole), len(whole) // 20):
        (tmp_path / "part.onnx").write_bytes(whole[:length])
        with pytest.raises(ModelError):
            capture(tmp_path / "part.onnx")


def test_state_dict_goes_through_with_arch(tmp_path: Path) -> None:
    net = seeded_net(6)
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "net.pt")
    graph = capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, arch=f"{ARCH}(width=6)")
    assert np.array_equal(graph.weights["head.weight"], net.head.weight.detach().numpy())


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (None, "--arch package.module:factory"),
        ("seeded_net", "cannot be understood"),
        (f"{ARCH}(width=print())", "not literals"),
        (f"{ARCH}(wide=3)", "fails: TypeError"),
        ("tests.capturing.build:nothing", "has no 'nothing'"),
        ("tests.capturing.nowhere:net", "cannot be imported"),
        ("tests.capturing.build:INPUT_SHAPE", "expected a function"),
        ("tests.capturing.test_bad_input:tiny_model", "makes a ModelProto"),
    ],
)
def test_arch_that_cannot_work_is_refused(tmp_path: Path, arch: str | None, message: str) -> None:
    torch.save(seeded_net().state_dict(), tmp_path / "net.pt")
    with pytest.raises(UsageError, match=message):
        capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, arch=arch)


def test_state_dict_of_another_network_names_the_keys(tmp_path: Path) -> None:
    weights = seeded_net().state_dict()
    weights["tail.weight"] = weights.pop("head.weight")
    torch.save(weights, tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"missing in the file head\.weight, unknown to the network tail\.weight"):
        capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, arch=ARCH)
    torch.save(seeded_net(5).state_dict(), tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"size mismatch for conv\.weight"):
        capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, arch=ARCH)


def test_dict_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "net.pt")
    with pytest.raises(ModelError, match="'epoch' is no tensor"):
        capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, arch=ARCH)


def test_custom_operator_is_named() -> None:
    with pytest.raises(ModelError, match=r"my\.corp::Frobnicate"):
        capture(tiny_model("Frobnicate", domain="my.corp"))


def test_operator_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="ONNX Runtime cannot run the model"):
        capture(tiny_model("Frobnicate"))


def test_old_operator_set_is_raised() -> None:
    graph = capture(tiny_model(opset=9))
    assert (graph.opset, [node.op for node in graph.nodes]) == (13, ["Relu"])


def test_new_operator_set_is_lowered() -> None:
    assert capture(tiny_model(opset=21), max_opset=17).opset == 17


def test_open_spatial_axes_need_an_input_shape() -> None:
    model = exported_onnx(seeded_net(), dynamic=(0, 2, 3))
    with pytest.raises(UsageError, match="only the batch may be open"):
        capture(model)
    with pytest.raises(UsageError, match="does not fit"):
        capture(model, input_shape=(1, 4, 8, 8))


@pytest.mark.parametrize("location", ["../weights.bin", "missing.bin"])
def test_external_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    (tmp_path / "folder").mkdir()
    model = tiny_model("Relu")
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.initializer.append(tensor)
    path = tmp_path / "folder" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"weight 'w' in '.*', which is no file in the model's folder"):
        capture(path)
    with pytest.raises(ModelError, match="weights in another file"):
        capture(model)


def test_external_weights_behind_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "weights.bin").symlink_to(tmp_path / "secret.bin")
    model = tiny_model("Relu")
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.initializer.append(tensor)
    path = tmp_path / "folder" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="weight 'w'"):
        capture(path)


def chain(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    model = tiny_model()
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def test_cycle_is_named() -> None:
    first = helper.make_node("Add", ["x", "b"], ["a"], name="first")
    second = helper.make_node("Relu", ["a"], ["b"], name="second")
    with pytest.raises(ModelError, match=r"'first' \(Add\) depends on its own result.* cycle"):
        capture(chain(first, second, helper.make_node("Relu", ["b"], ["y"])))


def test_tensor_that_nothing_makes_is_named() -> None:
    with pytest.raises(ModelError, match="reads 'ghost'"):
        capture(chain(helper.make_node("Add", ["x", "ghost"], ["y"], name="adds")))


def test_tensor_made_twice_is_named() -> None:
    first, second = (helper.make_node("Relu", ["x"], ["y"], name=name) for name in ("first", "second"))
    with pytest.raises(ModelError, match="'y' is made by node 'first' and again by node 'second'"):
        capture(chain(first, second))


@pytest.mark.parametrize("opset", [0, 1000, 2**40])
def test_operator_set_that_does_not_exist_is_refused(opset: int) -> None:
    with pytest.raises(ModelError, match=f"operator set {opset}"):
        capture(tiny_model(opset=opset))


def test_truncated_weight_is_named() -> None:
    model = exported_onnx(seeded_net())
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "conv.weight")
    weight.raw_data = weight.raw_data[:-5]
    with pytest.raises(ModelError, match=r"'conv\.weight' of the model is damaged"):
        capture(model)


def test_weight_that_does_not_fit_its_node_is_refused() -> None:
    model = exported_onnx(seeded_net())
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "conv.weight")
    weight.dims[:] = [4, 9, 3, 1]
    with pytest.raises(ModelError, match=r"Conv.*kernel channels: 9"):
        capture(model)


def test_image_of_absurd_size_is_refused_before_it_runs() -> None:
    with pytest.raises(ModelError, match="over 65535 along an axis"):
        capture(tiny_model(shape=("N", 3, 8, 2**24)))


def test_constant_that_would_not_fit_in_memory_is_not_computed() -> None:
    size = numpy_helper.from_array(np.array([2**40], np.int64), "size")
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["size"], ["huge"]), helper.make_node("Add", ["x", "huge"], ["y"])],
        "huge",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 1))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 2**40))],
        [size],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    with pytest.raises(ModelError, match="1099511627776 elements"):
        capture(model)
