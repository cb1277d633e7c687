"""Overlays: which images, under which names, in which proportions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_localization import localization_of, plain_localizer

from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.functional.overlay import contact_sheet
from cam_lightning.sink.overlays import Overlays

GAP, CAPTION_HEIGHT = 4, 46


def callback(network: Any, overlays: Overlays) -> LocalizationCallback:
    return LocalizationCallback(plain_localizer(network), {}, sinks={"overlays": overlays})


def written(run_dir: Path, split: str) -> dict[int, Path]:
    """By the image's position in the split, with which a file's name begins."""
    return {int(path.name[:6]): path for path in (run_dir / "overlays" / split).iterdir()}


def test_pngs_in_the_originals_proportions_and_a_sheet(data: Any, method: Any, trainer: Any, tmp_path: Path) -> None:
    trainer(callback(method.network, Overlays(str(tmp_path), count=6))).test(method, datamodule=data, verbose=False)
    pictures = written(tmp_path, "test")
    assert len(pictures) == 6
    shapes = set()
    for index, path in pictures.items():
        picture = Image.open(path)
        assert picture.format == "PNG"
        height, width = data.examples["test"].original(index).shape[:2]
        half_width, half_height = (picture.width - GAP) / 2, picture.height - CAPTION_HEIGHT
        assert abs(half_width * height - half_height * width) <= max(height, width)
        assert path.name == f"{index:06d}_image_{index}_it_s_{index}.png"
        shapes.add((height > width) - (height < width))
    assert len(shapes) > 1, "wider and higher ones among them"
    sheet = Image.open(tmp_path / "overlays" / "test.png")
    in_order = [np.asarray(Image.open(path)) for _, path in sorted(pictures.items())]
    assert np.array_equal(np.asarray(sheet), contact_sheet(in_order))


def test_the_sample_follows_from_the_seed_and_the_splits_length(data: Any, tmp_path: Path) -> None:
    """Two epochs of a real run, and one and the same sample: test_localization."""
    data.setup()

    def sample(split: str, count: int, seed: int) -> set[int]:
        overlays = Overlays(str(tmp_path), count=count, seed=seed)
        overlays.start(split, data.examples[split], [], 0, 1)
        return overlays.sample

    assert len(sample("test", 5, 0)) == 5
    assert sample("test", 5, 0) == sample("test", 5, 0) != sample("test", 5, 1)
    assert sample("test", 1000, 0) == set(range(20)), "no more than there are"


def test_none_is_none(data: Any, method: Any, trainer: Any, tmp_path: Path) -> None:
    trainer(callback(method.network, Overlays(str(tmp_path), count=0))).test(method, datamodule=data, verbose=False)
    assert written(tmp_path, "test") == {}
    assert not (tmp_path / "overlays" / "test.png").exists()


def test_an_unknown_colour_map_is_an_error_before_any_image(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inferno, viridis, turbo, jet; got 'rainbow'"):
        Overlays(str(tmp_path), colour_map="rainbow")


@pytest.mark.parametrize(
    ("label", "num_boxes", "iou", "expected"),
    [
        (1, 1, 0.5, ("ZEBRA  88%", "IoU 0.50 (hit), class right")),
        (0, 2, 0.499, ("ZEBRA  88%", "IoU 0.49 (miss), class wrong: HORSE")),
        (0, 0, 0.0, ("ZEBRA  88%", "class wrong: HORSE")),
    ],
)
def test_the_caption_says_class_probability_and_overlap(
    tmp_path: Path, label: int, num_boxes: int, iou: float, expected: tuple[str, str]
) -> None:
    from cam_lightning.contracts import GroundTruth, Proposals

    overlays = Overlays(str(tmp_path))
    overlays.class_names = ["HORSE", "ZEBRA"]
    no = torch.zeros(1, 2, dtype=torch.bool)
    localization = localization_of(
        torch.tensor([[1, 0]]),
        torch.tensor([[0.88, 0.12]]),
        torch.zeros(1, 2, 2, 2),
        Proposals(torch.zeros(1, 2, 4), (0, 1), no),
        torch.zeros(1, 2, 2),
        torch.zeros(1, 4),
        no[:, 0],
    )
    truth = GroundTruth(
        torch.tensor([label]), torch.zeros(1, 2, 4), torch.tensor([num_boxes]), torch.tensor([[30, 40]])
    )
    assert overlays._caption(localization, truth, 0, iou) == expected
