"""Models to be measured: as they stand, or as they would ship."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from deploycompress import save_pt2
from deploycompress.errors import ModelError, UntrustedModelError, UsageError
from deploycompress.measuring.static import macs, params
from deploycompress.pipeline.subject import Loading, distinct_names, read_subject, read_subjects
from deploycompress.profile_files import load_profile
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net

X86 = load_profile("x86")


def test_an_onnx_file_stays_as_it_is(tmp_path: Path) -> None:
    residual_net().save(tmp_path / "net.onnx")
    subject = read_subject(tmp_path / "net.onnx", X86, Loading())
    assert (subject.name, subject.data) == ("net.onnx", (tmp_path / "net.onnx").read_bytes())
    assert "BatchNormalization" in {node.op for node in subject.measured_graph().nodes}


def test_weights_beside_the_model_are_put_inside(tmp_path: Path) -> None:
    model = onnx.load_from_string(residual_net().to_bytes())
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    subject = read_subject(tmp_path / "net.onnx", X86, Loading())
    assert len(subject.data) > (tmp_path / "net.bin").stat().st_size > 0
    assert subject.counts() == read_of_graph()


def read_of_graph() -> dict[str, float]:
    folded = shipped_form(residual_net())
    return {"params": float(params(folded)), "macs": float(macs(folded))}


def test_files_of_torch_are_measured_as_they_would_ship(tmp_path: Path) -> None:
    save_pt2(residual_net(), tmp_path / "net.pt2")
    with pytest.raises(UntrustedModelError):
        read_subject(tmp_path / "net.pt2", X86, Loading())
    subject = read_subject(tmp_path / "net.pt2", X86, Loading(trust=True))
    assert "BatchNormalization" not in {node.op for node in subject.measured_graph().nodes}
    assert subject.counts() == read_of_graph()
    opset = onnx.load_from_string(subject.data).opset_import[0].version
    assert opset <= X86.runtime.max_opset


def test_arch_is_for_files_of_torch(tmp_path: Path) -> None:
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        residual_net().save(path)
    with pytest.raises(UsageError, match="--arch"):
        read_subject(paths[0], X86, Loading(arch="module:factory"))
    assert [subject.name for subject in read_subjects(paths, X86, Loading(arch="module:factory"))] == [
        "a.onnx",
        "b.onnx",
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx"):
        read_subject(tmp_path / "absent.onnx", X86, Loading())


def test_every_model_has_a_name_of_its_own() -> None:
    paths = [Path(text) for text in ("a/m.onnx", "m.onnx", "a/m.onnx", "n.onnx", "n.onnx")]
    names = distinct_names(paths)
    assert names == ("a/m.onnx", "m.onnx", "a/m.onnx (2)", "n.onnx", "n.onnx (2)")
