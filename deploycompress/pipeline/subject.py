"""A model that is measured rather than compressed: an ONNX file as it stands, anything else as it would ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from deploycompress.capturing.file_kind import FileKind, file_kind
from deploycompress.errors import ModelError
from deploycompress.graph import Graph
from deploycompress.measuring.model import read_model
from deploycompress.measuring.model_file import read_model_file
from deploycompress.measuring.static import macs, params
from deploycompress.profile import Profile, Runtime
from deploycompress.surgery.shipped import shipped_form


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How a model is loaded where its file does not say.

    Attributes:
        input_shape: sizes of the input's axes, the batch first.
        arch: `package.module:factory` that builds the network of a state dict.
        trust: whether code in the file may run.
        allow: `package.module:Class` entries that a pickled module may use.
    """

    input_shape: tuple[int, ...] | None = None
    arch: str | None = None
    trust: bool = False
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model to be measured.

    Attributes:
        name: what tables call it.
        data: the serialised ONNX model.
        loading: how it was loaded.
        runtime: what it is measured with.
    """

    name: str
    data: bytes = field(repr=False)
    loading: Loading
    runtime: Runtime

    def measured_graph(self) -> Graph:
        """Read the model as it is measured.

        Raises:
            ModelError: a tensor's shape cannot be inferred.
        """
        return read_model(self.data, self.runtime, input_shape=self.loading.input_shape).graph()

    def counted_graph(self) -> Graph:
        """Read the model in the form in which parameters are counted: settled, batch norm folded.

        Raises:
            ModelError: the model is no graph that can be settled.
        """
        from deploycompress.capturing.capture import capture  # brings torch along, which measuring does not need

        model = onnx.load_model_from_string(self.data)
        limits = self.runtime
        shape = self.loading.input_shape
        return shipped_form(capture(model, input_shape=shape, max_opset=limits.max_opset, max_ir=limits.max_ir))

    def counts(self) -> dict[str, float]:
        """Count what arithmetic alone tells: `params` and `macs`, as result.json counts them.

        Raises:
            ModelError: the model is no graph that can be settled, or a size depends on the data.
        """
        graph = self.counted_graph()
        return {"params": float(params(graph)), "macs": float(macs(graph))}


def read_subject(path: Path, profile: Profile, loading: Loading, *, name: str = "") -> Subject:
    """Read a model file.

    Args:
        path: an ONNX model, which is measured as it stands, or a file of torch, which is captured and folded.
        profile: the target device, whose runtime decides which ONNX versions are written.
        loading: how to load it.
        name: what to call it; the file's name when empty.

    Raises:
        ModelError: the file is missing, damaged, or needs what `loading` does not grant.
        UsageError: an option is missing, or does not fit the model.
    """
    if not path.is_file():
        raise ModelError(f"There is no model file {str(path)!r}; give the path of one.")
    runtime = profile.runtime
    if file_kind(path) is FileKind.ONNX and loading.arch is None:
        data = read_model_file(path)
    else:
        from deploycompress.capturing.capture import capture

        data = shipped_form(
            capture(
                path, input_shape=loading.input_shape, arch=loading.arch, trust=loading.trust, allow=loading.allow,
                max_opset=runtime.max_opset, max_ir=runtime.max_ir,
            )
        ).to_bytes()  # fmt: skip
    return Subject(name=name or path.name, data=data, loading=loading, runtime=runtime)


def read_subjects(paths: Sequence[Path], profile: Profile, loading: Loading) -> tuple[Subject, ...]:
    """Read several model files, and call them by as much of their paths as tells them apart.

    Raises:
        ModelError: a file is missing, damaged, or needs what `loading` does not grant.
        UsageError: an option is missing, or does not fit a model.
    """
    settings = [_fitting(path, loading) if len(paths) > 1 else loading for path in paths]
    return tuple(
        read_subject(path, profile, each, name=name)
        for path, each, name in zip(paths, settings, distinct_names(paths), strict=True)
    )


def _fitting(path: Path, loading: Loading) -> Loading:
    """Leave out what is meant for the files of torch among several."""
    is_onnx = path.is_file() and file_kind(path) is FileKind.ONNX
    return replace(loading, arch=None) if is_onnx else loading


def distinct_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Name files by their names, or by their whole paths where two share a name; a repeated path gets its number.

    Examples:
        >>> distinct_names([Path("a/model.onnx"), Path("b/model.onnx"), Path("teacher.onnx")])
        ('a/model.onnx', 'b/model.onnx', 'teacher.onnx')
    """
    short = [path.name for path in paths]
    names = [str(path) if short.count(path.name) > 1 else path.name for path in paths]
    seen: list[str] = []
    for name in names:
        seen.append(f"{name} ({seen_before + 1})" if (seen_before := names[: len(seen)].count(name)) else name)
    return tuple(seen)
