"""Decoding an image file: uint8 RGB, in the orientation that the file stores."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_image


def decode(data: bytes, name: str) -> np.ndarray:
    """uint8 RGB (H, W, 3) of an encoded image; raises OSError, naming the image, when it cannot be decoded.

    The EXIF orientation is not applied: the boxes of ILSVRC and its relatives are in unrotated pixels.
    """
    try:
        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        image_3HW = decode_image(buffer, mode=ImageReadMode.RGB, apply_exif_orientation=False)
    except (RuntimeError, ValueError) as error:
        raise OSError(f"{name} cannot be read as an image ({len(data):,} bytes): {error}") from error
    if image_3HW.ndim != 3 or image_3HW.dtype != torch.uint8:
        # torchvision hands out 16-bit PNGs as uint16 and animations as four axes, whatever was asked for.
        kind = f"{image_3HW.dtype} of shape {tuple(image_3HW.shape)}"
        raise OSError(f"{name} is not a still image of 8 bits per channel: it decodes to {kind}")
    return image_3HW.permute(1, 2, 0).numpy()
