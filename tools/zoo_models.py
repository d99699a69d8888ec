"""The networks that surgery is tried on: every torchvision model, and thirty-odd convolutional families of timm."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torchvision
from torch import nn

Shapes = tuple[tuple[int, ...], ...]

TIMM = (
    *(
        "convmixer_768_32",
        "convnext_atto",
        "convnextv2_atto",
        "cs3darknet_s",
        "cspresnet50",
        "darknet53",
        "densenet121",
    ),
    *("dla34", "dm_nfnet_f0", "dpn68", "eca_resnet33ts", "edgenext_xx_small", "efficientnet_b0", "ese_vovnet19b_slim"),
    *("fasternet_t0", "fbnetc_100", "gernet_s", "ghostnet_100", "hardcorenas_a", "hgnetv2_b0", "hrnet_w18_small"),
    *("inception_next_atto", "inception_resnet_v2", "inception_v4", "lcnet_050", "legacy_xception", "mixnet_s"),
    *("mnasnet_100", "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv4_conv_small", "mobileone_s0"),
    *("poolformer_s12", "regnety_004", "repghostnet_050", "repvgg_a0", "res2net50_26w_4s", "resnest14d", "resnet18"),
    *("resnetv2_50", "resnext50_32x4d", "rexnet_100", "selecsls42", "seresnet18", "skresnet18", "starnet_s1"),
    *("tf_efficientnetv2_b0", "tresnet_m", "xception41"),
)

SKIPPED = {
    "torchvision/regnet_y_128gf": "645 M parameters: over the 2 GiB that an ONNX file may have",
    "torchvision/vit_h_14": "632 M parameters: over the 2 GiB that an ONNX file may have",
}

DETECTION_SIDE = 320


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the zoo.

    Attributes:
        name: `library/model`.
        inputs: shape of each input, batch first.
        arguments: what its factory is given beyond random weights.
    """

    name: str
    inputs: Shapes = ((1, 3, 224, 224),)
    arguments: dict[str, Any] = field(default_factory=dict)  # Any: each factory has its own

    def build(self) -> nn.Module:
        """Make the network with random weights, in evaluation mode."""
        library, name = self.name.split("/")
        torch.manual_seed(0)
        if library == "timm":
            module = _timm().create_model(name, pretrained=False, **self.arguments)
        else:
            module = torchvision.models.get_model(name, weights=None, **self.arguments)
        module.eval()
        return module  # type: ignore[no-any-return]  # both libraries leave their factories untyped


def entries() -> Iterator[Entry]:
    """List the zoo in a fixed order."""
    for name in torchvision.models.list_models():
        yield _torchvision(name)
    for name in TIMM:
        side = _timm().get_pretrained_cfg(name).input_size[-1]
        yield Entry(f"timm/{name}", ((1, 3, side, side),))


def _torchvision(name: str) -> Entry:
    factory = torchvision.models.get_model_builder(name)
    full = f"torchvision/{name}"
    kind = factory.__module__.removeprefix("torchvision.models.").split(".")[0]
    side, extra = _SPECIAL.get(name, (224, {}))
    if kind == "detection":
        small = {} if name.startswith("ssd") else {"min_size": DETECTION_SIDE, "max_size": DETECTION_SIDE}
        # random weights score low; a threshold of zero lets boxes through, so that there is something to compare
        threshold = {"box_score_thresh" if "rcnn" in name else "score_thresh": 0.0}
        arguments = {"weights_backbone": None, **small, **threshold}
        return Entry(full, ((1, 3, DETECTION_SIDE, DETECTION_SIDE),), arguments)
    if kind == "segmentation":
        return Entry(
            full, ((1, 3, 224, 224),), {"weights_backbone": None, "aux_loss": not name.startswith("lraspp")} | extra
        )
    if kind == "video":
        return Entry(full, ((1, 3, 16, side, side),), extra)
    if kind == "optical_flow":
        return Entry(full, ((1, 3, 128, 128), (1, 3, 128, 128)), extra)
    return Entry(full, ((1, 3, side, side),), extra)


_SPECIAL: dict[str, tuple[int, dict[str, Any]]] = {
    "inception_v3": (299, {"init_weights": False}),
    "quantized_inception_v3": (299, {}),
    "googlenet": (224, {"init_weights": False}),
    "r3d_18": (112, {}),
    "mc3_18": (112, {}),
    "r2plus1d_18": (112, {}),
    "swin_v2_t": (256, {}),
    "swin_v2_s": (256, {}),
    "swin_v2_b": (256, {}),
}


def _timm() -> Any:  # Any: an optional library without types
    return importlib.import_module("timm")


def randomise(module: nn.Module, inputs: Shapes) -> None:
    """Give everything that starts out constant values of its own, so that a wrong cut shows.

    Norms keep sane activations: their statistics are taken on random input, batch by batch as in training.
    """
    generator = torch.Generator().manual_seed(0)
    for tensor in (*module.parameters(), *_frozen_statistics(module)):
        if tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
            low, high = (-0.3, 0.3) if float(tensor.flatten()[0]) == 0.0 else (0.5, 1.5)
            tensor.data.uniform_(low, high, generator=generator)
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = None  # average over all batches, of which there is one
        norm.reset_running_stats()
        norm.train()
    batch = [torch.randn(2, *shape[1:], generator=generator) for shape in inputs]
    with torch.no_grad():
        module(*batch)
    module.eval()


def _frozen_statistics(module: nn.Module) -> Iterator[torch.Tensor]:
    for part in module.modules():
        if isinstance(part, torchvision.ops.FrozenBatchNorm2d):
            yield from part.buffers()
