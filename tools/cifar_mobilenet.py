"""torchvision's MobileNets for 32x32 images in ten classes: the first convolution does not halve the image.

They end at 2x2 so, where torchvision's own stride of 32 would leave one pixel. For `--arch`, as
`tools.cifar_mobilenet:mobilenet_v2`; `python -m tools.train_cifar` trains them.
"""

from __future__ import annotations

from torch import nn
from torchvision import models

CLASSES = 10


def mobilenet_v2() -> nn.Module:
    """Make a MobileNetV2 with random weights."""
    return _without_first_stride(models.mobilenet_v2(num_classes=CLASSES))


def mobilenet_v3() -> nn.Module:
    """Make a MobileNetV3-Large with random weights."""
    return _without_first_stride(models.mobilenet_v3_large(num_classes=CLASSES))


def mobilenet_v3_small() -> nn.Module:
    """Make a MobileNetV3-Small with random weights."""
    return _without_first_stride(models.mobilenet_v3_small(num_classes=CLASSES))


def _without_first_stride(network: models.MobileNetV2 | models.MobileNetV3) -> nn.Module:
    first = network.get_submodule("features.0.0")
    if not isinstance(first, nn.Conv2d):
        raise TypeError(f"torchvision's first layer is {type(first).__name__}, no convolution")
    first.stride = (1, 1)
    return network
