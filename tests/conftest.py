"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
import torch

from cam_lightning.backbone.squeezenet_gap import squeezenet_gap

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tests run side by side, one process a core: more threads in each would only fight."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of reference data that nobody of this project made; skips where it is not on this machine."""
    folder = Path(os.environ.get("CAM_REFERENCE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set CAM_REFERENCE_DATA")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of `squeezenet_gap` for 1,000 classes, in a file with an awkward name."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "it's = some, weights.pth"
    torch.save(squeezenet_gap(1000).state_dict(), path)
    return path
