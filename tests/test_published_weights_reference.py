"""Published weights on real photos: what `evaluate` writes against torchvision's own network and a plain loop."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import hydra
import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import squeezenet1_0
from torchvision.transforms.v2 import functional as vision

from cam_lightning import evaluate
from cam_lightning.dataset.imagenet import imagenet_classes
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE

BATCHES, BATCH_SIZE = 3, 20


def _box(map_hw: Tensor) -> list[float]:
    """Largest component of what lies strictly above a fifth of the maximum, at 64×64."""
    map_HW = F.interpolate(map_hw[None, None], (64, 64), mode="bilinear")[0, 0].numpy()
    if map_HW.max() <= 0:
        return [0, 0, 64, 64]
    labels, count = scipy.ndimage.label(map_HW > np.float32(0.2 * float(map_HW.max())), structure=np.ones((3, 3)))
    largest = 1 + int(np.argmax([(labels == label).sum() for label in range(1, count + 1)]))
    ys, xs = np.nonzero(labels == largest)
    return [float(edge) for edge in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]


@pytest.mark.slow
@pytest.mark.reference
def test_evaluation_says_what_a_plain_loop_says(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of it, 2,000 photos, is in the README: top-1 accuracy 47.2 %, localization error top-1 78 %."""
    monkeypatch.setenv(RUN_DIR_VARIABLE, "")
    archive = reference_data / "tiny-imagenet-40.zip"
    weights = reference_data / "squeezenet" / "squeezenet1_0-imagenet.pth"
    run = RunDirectory.create(tmp_path, "x", tmp_path / "run")
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        config = hydra.compose(
            "evaluate",
            overrides=[
                "experiment=tiny_imagenet_squeezenet", f"dataset.root={archive}", f"backbone.weights={weights}",
                f"dataset.batch_size={BATCH_SIZE}", f"trainer.limit_test_batches={BATCHES}", "trainer=cpu",
                "callback=[localization]", f"run_dir={run.path}",
            ],
        )  # fmt: skip
    evaluate.run(config, run)
    with (run.path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == BATCHES * BATCH_SIZE

    network = squeezenet1_0()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    storage = Storage(str(archive))
    wanted = [imagenet_classes().index(name) for name in sorted(storage.read_lines("wnids.txt"))]
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for row in rows:
        (tmp_path / "photo.jpg").write_bytes(storage.read(row["id"]))
        photo = vision.pil_to_tensor(Image.open(tmp_path / "photo.jpg").convert("RGB"))
        pixels = vision.resize(photo, [224, 224], antialias=True).float() / 255
        with torch.no_grad():
            map_Chw = network.classifier[:2](network.features(((pixels - mean) / std)[None]))[0, wanted]
        logits_C = map_Chw.relu().mean((1, 2))
        best = logits_C.argsort(descending=True, stable=True)[:5].tolist()
        assert json.loads(row["classes"]) == best
        assert json.loads(row["boxes"]) == [_box(map_Chw[number]) for number in best]
        assert json.loads(row["gt_known_box"]) == _box(map_Chw[int(row["label"])])
        assert json.loads(row["probabilities"]) == pytest.approx(logits_C.softmax(0)[best].tolist(), abs=1e-4)
