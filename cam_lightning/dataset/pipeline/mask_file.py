"""Decoding a mask's file: one value per pixel."""

from __future__ import annotations

import cv2
import numpy as np

from cam_lightning.dataset.pipeline.storage import Storage


def read_grey(storage: Storage, path: str) -> np.ndarray:
    """uint8 (H, W) of a mask's file; raises OSError, naming the file, where it is not an image."""
    data = storage.read(path)
    grey_HW = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if grey_HW is None:
        raise OSError(f"{storage.describe(path)} cannot be read as a mask ({len(data):,} bytes)")
    return grey_HW
