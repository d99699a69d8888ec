"""Models that keep weights in other files: taken in from beside the model, refused from anywhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from deploycompress.errors import ModelError
from deploycompress.measuring.model import read_model
from deploycompress.measuring.model_file import read_model_file
from deploycompress.profile_files import load_profile
from tests.measuring.networks import conv_net

RUNTIME = load_profile("x86").runtime
WEIGHTS = "weights.bin"


def save_apart(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    model = onnx.load_model_from_string(conv_net(batch=1))
    onnx.save_model(model, path, save_as_external_data=True, location=WEIGHTS, size_threshold=0)
    assert (folder / WEIGHTS).stat().st_size >= 3 * 16 * 16 * 9 * 4
    return path


def point_weights_at(path: Path, location: str) -> None:
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def run(model: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": np.ones((1, 16, 16, 16), np.float32)})[0])


def test_weights_beside_the_model_are_taken_in(tmp_path: Path) -> None:
    model = read_model(save_apart(tmp_path), RUNTIME)
    np.testing.assert_array_equal(run(model.data), run(conv_net(batch=1)))
    assert model.weights_bytes == 3 * 16 * 16 * 9 * 4


def test_a_self_contained_file_stays_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(conv_net())
    assert read_model_file(path) == conv_net()


def test_a_path_relative_to_the_working_folder_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_apart(tmp_path / "inner")
    monkeypatch.chdir(tmp_path)
    assert len(read_model_file(Path("inner/model.onnx"))) > 3 * 16 * 16 * 9 * 4


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "inner/../../secret.bin", ""])
def test_weights_outside_of_the_models_folder_are_refused_by_name(tmp_path: Path, location: str) -> None:
    path = save_apart(tmp_path / "model")
    (path.parent / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(100_000))
    point_weights_at(path, location)
    with pytest.raises(ModelError, match=f"keeps tensor 'w0' in '{location}', outside of its own folder"):
        read_model(path, RUNTIME)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = save_apart(tmp_path / "model")
    weights = path.parent / WEIGHTS
    weights.rename(tmp_path / "elsewhere.bin")
    weights.symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(ModelError, match="outside of its own folder"):
        read_model(path, RUNTIME)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = save_apart(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"'weights\.bin', which is missing"):
        read_model(path, RUNTIME)


def test_weights_that_are_cut_short_are_an_error(tmp_path: Path) -> None:
    path = save_apart(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"short")
    with pytest.raises(ModelError, match="cannot be put into one model"):
        read_model(path, RUNTIME)


def test_bytes_alone_cannot_have_weights_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give the model by its path"):
        read_model(save_apart(tmp_path).read_bytes(), RUNTIME)


def test_weights_of_nodes_and_of_inner_graphs_are_looked_for(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(conv_net())
    stolen = onnx.TensorProto(name="stolen", data_type=onnx.TensorProto.FLOAT, dims=[1])
    stolen.data_location = onnx.TensorProto.EXTERNAL
    stolen.external_data.add(key="location", value="../stolen.bin")
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["c"], value=stolen)], "inner", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["condition"], [], then_branch=inner, else_branch=inner))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"'stolen' in '\.\./stolen\.bin'"):
        read_model(path, RUNTIME)
