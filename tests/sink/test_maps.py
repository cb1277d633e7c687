"""Maps as files: in the benchmark's layout, and back through evaluate_maps to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_localization import localization_of, plain_localizer, with_label_map

from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.contracts import GroundTruth, Localization
from cam_lightning.dataset.format.map_folder import read_score_map
from cam_lightning.functional.post_processing import PostProcessing, score_map
from cam_lightning.localization.map_scorer import MapScorer, score_all
from cam_lightning.metric.max_box_accuracy import MaxBoxAccuracy, MaxBoxAccuracyV2
from cam_lightning.sink.maps import Maps

RULE: dict[str, Any] = {"mode": "wsol", "map_size": (20, 28), "upsample": "bicubic"}
KEYS = ("max_box_accuracy", "max_box_accuracy/threshold", "max_box_accuracy_v2", "max_box_accuracy_v2/iou_0.3")


IDS = ["a/b c.jpg", "it's=1, [2]", "\u2028/é.png", "no box"]


class Source:
    def __init__(self, ids: list[str] = IDS) -> None:
        self.ids = ids
        self.class_names = ["n01"]

    def original(self, index: int) -> np.ndarray:
        raise AssertionError("maps need no pixels")

    def __len__(self) -> int:
        return 4


def batch() -> tuple[Localization, GroundTruth]:
    """Maps whose range is a power of two, so that float16 holds their scores to the last bit."""
    blank: Any = None
    map_Bhw = torch.randint(-100, 157, (4, 5, 7), generator=torch.Generator().manual_seed(0)).float()
    map_Bhw[:, 0, 0], map_Bhw[:, 0, 1] = -100, 156
    boxes_BN4 = torch.tensor([[[3, 2, 30, 17], [0, 0, 5, 5]], [[10, 3, 33, 20], [0, 0, 0, 0]]] * 2).float()
    truth = GroundTruth(torch.tensor([4, 0, 2, 1]), boxes_BN4, torch.tensor([2, 1, 1, 0]), torch.tensor([[24, 36]] * 4))
    return localization_of(blank, blank, blank, blank, map_Bhw, blank, blank), truth


def test_read_back_they_give_the_same_numbers(tmp_path: Path) -> None:
    """Two ranks, batches out of order, the map's own cells: every hit of both metrics is the same."""
    localization, truth = batch()
    ranks = [Maps(str(tmp_path), ["test"], map_size=None) for _ in range(2)]
    for rank, sink in enumerate(ranks):
        sink.start("test", Source(), [], rank, 2)
    for sink, rows in ((ranks[1], [2, 0]), (ranks[0], [3, 1])):
        part = with_label_map(localization, localization.label_map_Bhw[rows])._replace(index_B=torch.tensor(rows))
        sink.add(part, GroundTruth(*(tensor[rows] for tensor in truth[:4])), {})
    for sink in ranks:
        sink.finish()
    ranks[0].merge()

    metadata = tmp_path / "metadata" / "test"
    assert sorted(path.name for path in metadata.iterdir()) == [
        "class_labels.txt",
        "image_ids.txt",
        "image_sizes.txt",
        "localization.txt",
    ]
    assert (metadata / "image_ids.txt").read_text() == "".join(f"{name}\n" for name in IDS[:3])
    assert (metadata / "localization.txt").read_text().splitlines()[:2] == ["a/b c.jpg,3,2,29,16", "a/b c.jpg,0,0,4,4"]
    assert (metadata / "image_sizes.txt").read_text().splitlines()[0] == "a/b c.jpg,36,24"
    assert (metadata / "class_labels.txt").read_text().splitlines()[0] == "a/b c.jpg,4"
    map_hw = np.load(tmp_path / "maps" / "test" / "no box.npy")
    assert (map_hw.dtype, map_hw.shape) == (np.float16, (5, 7))

    scorer = MapScorer(tmp_path / "maps" / "test", metadata, map_size=(20, 28))
    score_all(scorer, 1, lambda count: None)
    assert scorer.problems == [(name, "other_size") for name in IDS[:3]]
    for key, metric in (
        ("max_box_accuracy", MaxBoxAccuracy(**RULE)),
        ("max_box_accuracy_v2", MaxBoxAccuracyV2(**RULE)),
    ):
        metric.update(localization, truth)
        assert scorer.hits()[f"{key}/iou_0.5"] == metric.hits[len(metric.hits) // 2].tolist()
        assert metric.compute().items() <= scorer.results().items()


def test_at_the_benchmark_s_size_they_are_scores(tmp_path: Path) -> None:
    localization, truth = batch()
    localization.label_map_Bhw[1] = 3.0
    sink = Maps(str(tmp_path), ["test"], map_size=[8, 12])
    sink.start("test", Source(), [], 0, 1)
    sink.add(localization, truth, {})
    sink.finish()
    sink.merge()
    for row, name in enumerate(IDS):
        map_HW = np.load(tmp_path / "maps" / "test" / f"{name}.npy")
        expected_HW = score_map(localization.label_map_Bhw[row], (8, 12), PostProcessing("bicubic", normalise="minmax"))
        np.testing.assert_array_equal(map_HW, expected_HW.astype(np.float16))
        assert (map_HW.min(), map_HW.max()) == ((0, 0) if row == 1 else (0, 1))


def test_a_whole_evaluation(data: Any, method: Any, trainer: Any, tmp_path: Path) -> None:
    """Of the toy world, where float16 cuts the maps' last bits, and no hit depends on them."""
    metrics = {"largest": MaxBoxAccuracy(interval=0.05, **RULE), "any": MaxBoxAccuracyV2(interval=0.05, **RULE)}
    sinks = {"maps": Maps(str(tmp_path), ["test"], map_size=None)}
    testing = trainer(LocalizationCallback(plain_localizer(method.network), metrics, sinks=sinks))
    testing.test(method, datamodule=data, verbose=False)
    scorer = MapScorer(tmp_path / "maps" / "test", tmp_path / "metadata" / "test", map_size=(20, 28), interval=0.05)
    score_all(scorer, 1, lambda count: None)
    results = scorer.results()
    for key in KEYS:
        assert results[key] == testing.callback_metrics[f"test/{key}"].item()
    assert 0 < results["max_box_accuracy"] < 1
    assert results["num_maps_missing"] == 0


def test_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    localization, truth = batch()
    sink = Maps(str(tmp_path))
    sink.start("test", Source(), [], 0, 1)
    sink.add(localization, truth, {})
    sink.finish()
    sink.merge()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["two\nlines", "a\rb", "../up", "a\0b", "é" * 126, "a/" + "b" * 256 + "/c", "\udcff"])
def test_ids_that_can_be_no_file_are_an_error_before_any_image(tmp_path: Path, name: str) -> None:
    sink = Maps(str(tmp_path), ["val"])
    with pytest.raises(ValueError, match="of the val split cannot have a file"):
        sink.check("val", Source(["fine", name]))
    sink.check("test", Source(["fine", name]))  # of this split no map is written
    sink.check("val", Source(["fine", "a b/c, d", "é" * 125, "a/" + "b" * 251]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "map_size", [[224], [1, 2, 3], [0, 5], [4, None], [2.5, 3], "64", [20_000, 5], True, [True, 1]]
)
def test_a_size_that_cannot_be_is_said_when_the_sink_is_made(tmp_path: Path, map_size: Any) -> None:
    with pytest.raises(ValueError, match=r"map_size is \[height, width\], whole numbers from 1 to 16384; got"):
        Maps(str(tmp_path), map_size=map_size)
    with pytest.raises(ValueError, match=r"MaxBoxAccuracy: map_size is \[height, width\]"):
        MaxBoxAccuracy(map_size=map_size)


def test_one_side_is_a_square(tmp_path: Path) -> None:
    assert Maps(str(tmp_path), map_size=5).map_size == MaxBoxAccuracy(map_size=[5, 5]).map_size == (5, 5)


def test_raw_maps_are_as_they_were_made_and_say_their_unit(tmp_path: Path) -> None:
    """And `evaluate_maps` counts on them what it counts on their scores."""
    localization, truth = batch()
    for raw in (False, True):
        sink = Maps(str(tmp_path / str(raw)), ["test"], map_size=(20, 28), raw=raw)
        sink.start("test", Source(), [], 0, 1)
        sink.add(localization._replace(unit="logit per cell"), truth, {})
        sink.finish()
        sink.merge()
    folder = tmp_path / "True" / "maps" / "test"
    for row, name in enumerate(IDS):
        map_hw = np.load(folder / f"{name}.npy")
        assert map_hw.dtype == np.float32
        np.testing.assert_array_equal(map_hw, localization.label_map_Bhw[row].numpy())
    assert json.loads((folder / "raw.json").read_text())["unit"] == "logit per cell"
    assert not (tmp_path / "False" / "maps" / "test" / "raw.json").exists()
    raw_scorer, scorer = (
        MapScorer(tmp_path / each / "maps" / "test", tmp_path / each / "metadata" / "test", map_size=(20, 28))
        for each in ("True", "False")
    )
    for each in (raw_scorer, scorer):
        score_all(each, 1, lambda count: None)
    assert raw_scorer.problems == []
    assert "normalised" in raw_scorer.protocol["values"]
    assert scorer.protocol["values"] == "scores"
    for key in KEYS:
        assert raw_scorer.results()[key] == pytest.approx(scorer.results()[key], abs=0.002)


def test_a_raw_map_that_looks_like_scores_is_normalised_all_the_same(tmp_path: Path) -> None:
    """At the size asked for and between 0 and 1 it would be taken as it is, were it not known to be raw."""
    path = tmp_path / "a.npy"
    np.save(path, np.array([[0.25, 0.5], [0.25, 0.75]], np.float32))
    (taken, _), (normalised, problems) = read_score_map(path, (2, 2)), read_score_map(path, (2, 2), raw=True)
    assert taken is not None
    assert normalised is not None
    assert taken.tolist() == [[0.25, 0.5], [0.25, 0.75]]
    assert normalised.tolist() == [[0, 0.5], [0, 1]]
    assert problems == []
    np.save(path, np.full((3, 4), 7.0))
    assert read_score_map(path, (2, 2), raw=True)[1] == ["constant"]
