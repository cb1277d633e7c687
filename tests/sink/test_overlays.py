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
from cam_lightning.contracts import GroundTruth, Proposals
from cam_lightning.functional.map_colours import BAR_HEIGHT
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
    with pytest.raises(ValueError, match="inferno, viridis, turbo, jet, diverging; got 'rainbow'"):
        Overlays(str(tmp_path), colour_map="rainbow")


@pytest.mark.parametrize("scale", ["sharde", 0, -1.0, True, float("nan")])
def test_a_scale_that_there_is_not_is_an_error_before_any_image(tmp_path: Path, scale: Any) -> None:
    with pytest.raises(ValueError, match="scale is own, shared, or a number above 0; got"):
        Overlays(str(tmp_path), scale=scale)


class Blank:
    """Grey images of one size."""

    ids = ("a", "b", "c")
    class_names = ("x",)

    def __len__(self) -> int:
        return 3

    def original(self, index: int) -> np.ndarray:
        return np.full((240, 300, 3), 90, np.uint8)


def seen_on_two_ranks(run_dir: Path, **options: Any) -> list[np.ndarray]:
    """Maps whose maxima are 1, 4 and 2, one rank having two of them, of a class whose name holds a line separator."""
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    ranks = [Overlays(str(run_dir), **options) for _ in range(2)]
    for number, sink in enumerate(ranks):
        sink.start("test", Blank(), ["\u2028é"], number, 2)
    for index, (rank, high) in enumerate(((1, 1.0), (0, 4.0), (1, 2.0))):
        map_hw = torch.tensor([[0.0, high], [-8.0, 0.0]])
        box = torch.tensor([[[150.0, 0, 300, 120]]])
        localization = localization_of(
            torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1), map_hw[None, None],
            Proposals(box, (0,), nothing), map_hw[None], box[0], nothing[0], torch.tensor([index]),
        )._replace(unit="logit per cell (mean = logit)")  # fmt: skip
        truth = GroundTruth(torch.zeros(1).long(), torch.zeros(1, 0, 4), torch.tensor([0]), torch.tensor([[240, 300]]))
        ranks[rank].add(localization, truth, {})
    for sink in ranks:
        sink.finish()
    ranks[0].merge()
    return [np.asarray(Image.open(path)) for _, path in sorted(written(run_dir, "test").items())]


def test_one_scale_is_shared_over_all_ranks(tmp_path: Path) -> None:
    """The corner of the highest map alone has the brightest colour, and a bar says what that is."""
    own, shared = seen_on_two_ranks(tmp_path / "own"), seen_on_two_ranks(tmp_path / "shared", scale="shared")
    fixed = seen_on_two_ranks(tmp_path / "fixed", scale=4)
    assert len(own) == len(shared) == 3
    corner = (20, 304 + 280)  # beside the box's outline
    assert len({tuple(picture[corner]) for picture in own}) == 1
    strengths = [int(np.abs(picture[corner].astype(int) - 90).sum()) for picture in shared]
    assert strengths[0] < strengths[2] < strengths[1]
    assert np.array_equal(shared[1][corner], own[1][corner])
    for one, other, plain in zip(shared, fixed, own, strict=True):
        assert np.array_equal(one, other)
        assert one.shape[0] == plain.shape[0] + BAR_HEIGHT
    assert not list((tmp_path / "shared" / "overlays" / "test").glob(".part*"))


def test_evidence_against_the_class_is_seen_in_diverging_colours(tmp_path: Path) -> None:
    """Bottom left it is: as a share of 8, the greatest absolute value of all."""
    for_it, against = (20, 304 + 280), (220, 304 + 20)
    plain = seen_on_two_ranks(tmp_path / "plain", scale="shared")
    both = seen_on_two_ranks(tmp_path / "both", scale="shared", colour_map="diverging")
    assert plain[1][against].tolist() == [90, 90, 90]
    red, _, blue = both[1][against].astype(int).tolist()
    assert blue > red + 40
    red, _, blue = both[1][for_it].astype(int).tolist()
    assert red > blue + 40


@pytest.mark.parametrize(
    ("label", "num_boxes", "iou", "shown", "expected"),
    [
        (1, 1, 0.5, None, ("ZEBRA  88%", "IoU 0.50 (hit), class right")),
        (0, 2, 0.499, None, ("ZEBRA  88%", "IoU 0.49 (miss), class wrong: HORSE")),
        (0, 0, 0.0, None, ("ZEBRA  88%", "class wrong: HORSE")),
        (1, 1, 0.5, [1, 1], ("ZEBRA  88%", "IoU 0.50 (hit), class right")),
        (0, 2, 0.1, [1, 1], ("ZEBRA  88%", "IoU 0.10 (miss), class right, boxes of HORSE")),
        (0, 0, 0.0, [1, 0], ("ZEBRA  88%", "class wrong: HORSE")),
        (0, 1, 0.1, [1, 255], ("ZEBRA  88%", "IoU 0.10 (miss), class not known, boxes of HORSE")),
    ],
)
def test_the_caption_says_class_probability_and_overlap(
    tmp_path: Path, label: int, num_boxes: int, iou: float, shown: list[int] | None, expected: tuple[str, str]
) -> None:
    """Of an image that shows a zebra and a horse, once for each: a zebra is no wrong class where it is about the horse.

    255: nobody has said whether it shows one.
    """
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
        torch.tensor([label]), torch.zeros(1, 2, 4), torch.tensor([num_boxes]), torch.tensor([[30, 40]]),
        classes_BC=None if shown is None else torch.tensor([shown], dtype=torch.uint8),
    )  # fmt: skip
    assert overlays._caption(localization, truth, 0, iou) == expected
