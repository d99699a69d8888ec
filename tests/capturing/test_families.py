"""One small network of each family of torchvision and timm is captured whole; capture itself checks the numbers."""

from __future__ import annotations

from typing import Any

import onnxruntime as ort
import pytest
import torch
import torchvision
from torch import Tensor, nn

from deploycompress.capturing.capture import capture
from deploycompress.capturing.findings import missing_share
from deploycompress.graph import UNKNOWN_SIZE

timm: Any = pytest.importorskip("timm")

pytestmark = pytest.mark.slow

SMALL = (1, 3, 64, 64)
WHOLE = (1, 3, 224, 224)
TORCHVISION = {
    "alexnet": SMALL,
    "convnext_tiny": SMALL,
    "densenet121": SMALL,
    "efficientnet_b0": SMALL,
    "inception_v3": (1, 3, 96, 96),
    "maxvit_t": WHOLE,
    "regnet_y_400mf": SMALL,
    "shufflenet_v2_x0_5": SMALL,
    "swin_t": WHOLE,
    "swin_v2_t": (1, 3, 256, 256),
    "swin3d_t": (1, 3, 4, 64, 64),
    "r2plus1d_18": (1, 3, 4, 64, 64),
    "lraspp_mobilenet_v3_large": SMALL,
    "quantized_mobilenet_v2": SMALL,
}
TIMM = [
    "resnet18", "seresnet18", "densenet121", "efficientnet_b0", "mobilenetv4_conv_small", "mnasnet_100", "regnetx_004",
    "convnext_atto", "convnextv2_atto", "repvgg_a0", "dla34", "dpn68", "hrnet_w18_small", "ese_vovnet19b_slim",
    "cspresnet50", "darknet53", "ghostnet_100", "hardcorenas_a", "inception_v4", "legacy_xception", "res2net50_26w_4s",
    "resnest14d", "selecsls42", "skresnet18", "tresnet_m", "fbnetc_100", "edgenext_xx_small", "inception_next_atto",
    "fasternet_t0", "starnet_s1", "rexnet_100", "nfnet_l0", "vit_tiny_patch16_224", "levit_128s",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_torchvision_family(name: str) -> None:
    options: dict[str, Any] = {"quantize": False} if name.startswith("quantized") else {}
    options |= {"weights_backbone": None} if "lraspp" in name else {}
    options |= {"init_weights": False} if "inception" in name else {}
    shape = TORCHVISION[name]
    graph = capture(torchvision.models.get_model(name, weights=None, **options), input_shape=shape)
    assert graph.inputs[0].shape == ("N", *shape[1:])
    assert all(UNKNOWN_SIZE not in tensor for tensor in graph.shapes.values())
    assert {name for node in graph.nodes for name in node.outputs if name} <= set(graph.shapes)
    assert not {"If", "Loop", "Squeeze"} & {node.op for node in graph.nodes if not node.input(1)}


@pytest.mark.parametrize("name", TIMM)
def test_timm_family(name: str) -> None:
    size = timm.get_pretrained_cfg_value(name, "input_size") or (3, 224, 224)
    graph = capture(timm.create_model(name, pretrained=False), input_shape=(1, *size))
    assert graph.outputs[0].shape == ("N", 1000)
    assert all(UNKNOWN_SIZE not in tensor for tensor in graph.shapes.values())


def test_optical_flow_takes_two_images_and_gives_every_step() -> None:
    raft = torchvision.models.optical_flow.raft_small(weights=None)

    class TwoSteps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raft = raft

        def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
            flows: list[Tensor] = self.raft(first, second, num_flow_updates=2)
            return flows

    graph = capture(TwoSteps(), input_shape=[(1, 3, 128, 128)] * 2)
    assert [port.shape for port in graph.outputs] == [("N", 2, 128, 128)] * 2


def lively(network: nn.Module) -> nn.Module:
    """Draw weights that let signals through, so that scores differ as those of a trained network do."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.normal_(part.bias, 0.0, 0.1)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith(("bbox_pred.weight", "cls_score.weight")):
                weight.mul_(0.01)
    return network


def test_detection_network_is_captured_whole() -> None:
    factory = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn
    network = lively(factory(weights=None, weights_backbone=None, box_score_thresh=0.01)).eval()
    graph = capture(network, input_shape=(1, 3, 160, 160))
    assert graph.inputs[0].shape == (1, 3, 160, 160)
    assert [port.name for port in graph.outputs] == ["boxes", "labels", "scores"]
    assert graph.shape_of("boxes") == (UNKNOWN_SIZE, 4)
    x = torch.randn((1, 3, 160, 160), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = [tensor.numpy() for tensor in network(x)[0].values()]
    session = ort.InferenceSession(graph.to_bytes(), providers=["CPUExecutionProvider"])
    found = session.run(None, {graph.inputs[0].name: x.numpy()})
    assert len(expected[0]) > 10
    assert missing_share(expected, found, 1e-3) <= 0.2  # untrained: a few boxes hang on the last digits
