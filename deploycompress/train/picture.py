"""One rule for bringing a picture to the size a network reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def picture_to_array(picture: Image.Image, shape: tuple[int, int, int] | None) -> NDArray[np.uint8]:
    """Crop a picture at its centre to the wanted aspect ratio, resize it (bilinear), and give its bytes.

    Args:
        picture: of any mode.
        shape: (C, H, W) with C = 1 for grey and anything else for RGB; `None` keeps the size and gives RGB.

    Returns:
        Pixels, uint8, shape [H, W, C].
    """
    channels = 3 if shape is None else shape[0]
    converted = picture.convert("L" if channels == 1 else "RGB")
    if shape is not None and converted.size != (shape[2], shape[1]):
        converted = ImageOps.fit(converted, (shape[2], shape[1]), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(converted, dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
