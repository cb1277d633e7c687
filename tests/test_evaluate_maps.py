"""The command that scores anyone's maps: the benchmark's counts, and every map accounted for."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import hydra
import numpy as np
import pytest
import torch
from toy_localization import localization_of

from cam_lightning.contracts import GroundTruth
from cam_lightning.evaluate_maps import run
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.localization import map_scorer
from cam_lightning.localization.map_scorer import MapScorer, score_all
from cam_lightning.metric.max_box_accuracy import MaxBoxAccuracy, MaxBoxAccuracyV2
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE

SIZE = (14, 18)
NAMES = ["a/good 1.jpg", "a/good, 2.jpg", "b/c/small.jpg", "b/range.jpg", "nan.jpg", "flat.jpg", "gone.jpg", "cut.jpg"]


def write_metadata(folder: Path, sizes: dict[str, tuple[int, int]], rows: list[str]) -> Path:
    folder.mkdir(parents=True)
    (folder / "image_ids.txt").write_text("".join(f"{name}\n" for name in sizes))
    (folder / "image_sizes.txt").write_text("".join(f"{name},{w},{h}\n" for name, (h, w) in sizes.items()))
    (folder / "localization.txt").write_text("".join(f"{row}\n" for row in rows))
    return folder


def save(folder: Path, name: str, map_hw: np.ndarray) -> None:
    path = folder / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, map_hw)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Eight images, 30 wide and 20 high, with one or two boxes; two maps are fine."""
    rng = np.random.default_rng(0)
    maps = tmp_path / "the maps"
    rows = []
    for i, name in enumerate(NAMES):
        map_hw = cv2.GaussianBlur(rng.random(SIZE), (0, 0), 2)
        map_hw = (map_hw - map_hw.min()) / (map_hw.max() - map_hw.min())
        if name == "b/c/small.jpg":
            map_hw = map_hw[:7, :9].astype(np.float16)
        elif name == "b/range.jpg":
            map_hw = map_hw * 9 - 3
        elif name == "nan.jpg":
            map_hw[0, 0] = np.nan
        elif name == "flat.jpg":
            map_hw[:] = 0.5
        if name != "gone.jpg":
            save(maps, name, map_hw)
        rows += [f"{name},{3 + i},{2 + i},{15 + i},{13}"] + [f"{name},0,0,29,19"] * (i % 2)
    cut = maps / "cut.jpg.npy"
    cut.write_bytes(cut.read_bytes()[:-100])
    return {"maps": maps, "metadata": write_metadata(tmp_path / "meta", dict.fromkeys(NAMES, (20, 30)), rows)}


def scored(threads: int = 1, **options: Any) -> MapScorer:
    scorer = MapScorer(**options)
    done: list[int] = []
    score_all(scorer, threads, done.append)
    assert sum(done) == len(scorer.truth.ids)
    return scorer


def test_every_image_counts_and_every_problem_has_a_name(folders: dict[str, Path]) -> None:
    scorer = scored(**folders, map_size=SIZE, interval=0.01)
    assert scorer.problems == [
        ("b/c/small.jpg", "other_size"),
        ("b/range.jpg", "other_range"),
        ("nan.jpg", "not_finite"),
        ("flat.jpg", "constant"),
        ("gone.jpg", "missing"),
        ("cut.jpg", "unreadable"),
    ]
    results = scorer.results()
    assert results["num_images"] == 8
    for problem in ("missing", "unreadable", "not_finite", "other_size", "other_range", "constant"):
        assert results[f"num_maps_{problem}"] == 1

    # As the metric classes count the maps that there are; a file that is none is a miss, never left out.
    blank: Any = None
    for prefix, mode in (("", "wsol"), ("components/", "components")):
        options: dict[str, Any] = {"mode": mode, "interval": 0.01, "map_size": SIZE, "upsample": "bicubic"}
        largest, multi = MaxBoxAccuracy(**options), MaxBoxAccuracyV2(**options)
        for image, name in enumerate(NAMES[:6]):
            map_hw = torch.from_numpy(np.load(folders["maps"] / f"{name}.npy").astype(np.float32))
            if name == "flat.jpg":
                continue  # the benchmark takes 0.5 everywhere as everywhere above; see the next test
            first, end = scorer.truth.first_row_N1[image : image + 2]
            boxes = torch.from_numpy(scorer.truth.corners_M4[first:end] + np.array([0, 0, 1, 1])).float()
            localization = localization_of(blank, blank, blank, blank, map_hw[None], blank, blank)
            truth = GroundTruth(blank, boxes[None], torch.tensor([len(boxes)]), torch.tensor([[20, 30]]))
            largest.update(localization, truth)
            multi.update(localization, truth)
        whole_L = scorer.boxed[f"{prefix}max_box_accuracy"]
        level_HW = np.full(SIZE, 127, np.uint8)
        first, end = scorer.truth.first_row_N1[5:7]
        flat_N4 = (scorer.truth.corners_M4[first:end] + np.array([0, 0, 1, 1])).astype(float)
        expected = largest.hits[0].numpy() + whole_L.hits_of(level_HW, flat_N4, (20, 30))[0]
        hits = scorer.hits()
        assert hits[f"{prefix}max_box_accuracy/iou_0.5"] == expected.tolist()
        assert results[f"{prefix}max_box_accuracy"] == max(expected) / 8
        for i, iou in enumerate((0.3, 0.5, 0.7)):
            flat_Q = scorer.boxed[f"{prefix}max_box_accuracy_v2"].hits_of(level_HW, flat_N4, (20, 30))[i]
            assert hits[f"{prefix}max_box_accuracy_v2/iou_{iou}"] == (multi.hits[i].numpy() + flat_Q).tolist()


def test_threads_and_tasks_change_nothing(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one = scored(**folders, map_size=SIZE, interval=0.05)
    monkeypatch.setattr(map_scorer, "IMAGES_PER_TASK", 1)
    many = scored(threads=3, **folders, map_size=SIZE, interval=0.05)
    assert (one.results(), one.hits(), one.problems) == (many.results(), many.hits(), many.problems)


def test_half_open_corners_matter_to_exact_boxes_alone(folders: dict[str, Path]) -> None:
    (inclusive, half_open) = (
        scored(**folders, map_size=SIZE, interval=0.01, corners=corners).hits()
        for corners in ("inclusive", "half_open")
    )
    for key, hits in inclusive.items():
        if not key.startswith("components"):
            assert hits == half_open[key]


def job(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RUN_DIR_VARIABLE, "")
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        config = hydra.compose("evaluate_maps")
    for name, value in options.items():
        config[name] = str(value) if isinstance(value, Path) else value
    folder = RunDirectory.create(tmp_path / "runs", "maps")
    run(config, folder)
    return folder.path


def test_the_job(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    path = job({**folders, "map_size": [14, 18], "threads": 1}, tmp_path, monkeypatch)
    results = json.loads((path / "results.json").read_text())
    specs = results.pop("specs")
    assert results == scored(**folders, map_size=SIZE).results(), "0.001, wsol, three IoU are what is not asked for"
    with (path / "problems.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["image_id", "problem"],
            ["b/c/small.jpg", "other_size"],
            ["b/range.jpg", "other_range"],
            ["nan.jpg", "not_finite"],
            ["flat.jpg", "constant"],
            ["gone.jpg", "missing"],
            ["cut.jpg", "unreadable"],
        ]
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "MaxBoxAcc " in line)
    assert f"{results['max_box_accuracy']:.2%} at {results['max_box_accuracy/threshold']:g}" in row
    assert f"{results['components/max_box_accuracy']:.2%}" in row
    assert specs.keys() == {key for key in results if not key.startswith("protocol/")}
    assert specs["components/max_box_accuracy/threshold"]["of"] == "components/max_box_accuracy"
    assert "1 × missing (no file: a miss at every threshold, score 0 in every pixel): gone.jpg" in out
    for name in ("small.jpg", "range.jpg", "nan.jpg", "flat.jpg", "cut.jpg"):
        assert name in out


def test_masks_give_pxap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, as in the tests of the function; a missing map scores 0 in every pixel."""
    cv2.imwrite(str(tmp_path / "object.png"), np.array([[255, 255, 0], [0, 255, 0]], np.uint8))
    cv2.imwrite(str(tmp_path / "ignore.png"), np.array([[0, 0, 0], [0, 0, 255]], np.uint8))
    metadata = write_metadata(tmp_path / "meta", {}, ["x,object.png,ignore.png", "y,object.png,ignore.png"])
    (metadata / "image_ids.txt").write_text("x\ny\n")
    save(tmp_path / "maps", "x", np.array([[1.0, 0.5, 0.5], [0.4, 0.0, 0.7]]))
    options = {"maps": tmp_path / "maps", "metadata": metadata, "masks": tmp_path, "map_size": [2, 3], "interval": 0.5}
    results = json.loads((job(options, tmp_path, monkeypatch) / "results.json").read_text())
    assert results["pixel_average_precision"] == pytest.approx((1 / 6) * 1 + (1 / 6) * (2 / 3) + (4 / 6) * (6 / 10))
    assert not any("max_box" in key for key in results)
    assert results["num_maps_missing"] == 1


def test_folders_that_do_not_fit_are_said_to(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(error: type[Exception], match: str, **changed: Any) -> None:
        with pytest.raises(error, match=match):
            job({**folders, **changed}, tmp_path, monkeypatch)

    fails(ValueError, "needs maps=FOLDER metadata=FOLDER; no maps given", maps=None)
    fails(FileNotFoundError, "metadata=.*nowhere is not a folder$", metadata=tmp_path / "nowhere")
    fails(FileNotFoundError, "^metadata=nowhere is not a folder$", metadata="nowhere")
    run = tmp_path / "a run"
    run.mkdir()
    (run / "status.json").write_text("{}")
    hint = r"is not a folder: a run writes it with callback\.localization\.sinks\.maps\.splits=\[test\]"
    fails(FileNotFoundError, rf"maps=.*a run/maps/test {hint}", maps=run / "maps" / "test")
    fails(FileNotFoundError, "image_ids.txt does not exist", metadata=tmp_path)
    fails(ValueError, r"holds none of 8 maps, such as a/good 1\.jpg\.npy", maps=tmp_path)
    fails(ValueError, "names no masks", masks=tmp_path)
    fails(ValueError, "mode is one of components, wsol; got 'contour'", mode="contour")
    fails(ValueError, "corners is one of", corners="round")
    rows = write_metadata(tmp_path / "masks", {"a": (2, 3)}, ["a,a.png,"])
    fails(ValueError, "names masks: give the folder they lie in with masks=FOLDER", metadata=rows)
    few = write_metadata(tmp_path / "few", {"a": (2, 3), "b/c.jpg": (2, 3)}, ["a,0,0,1,1"])
    fails(ValueError, "neither box nor mask of 1 of 2 images: b/c.jpg", metadata=few)
    (few / "image_sizes.txt").write_text("")
    (few / "localization.txt").write_text("a,0,0,1,1\nb/c.jpg,0,0,1,1\n")
    fails(ValueError, "image_sizes.txt is empty or missing", metadata=few)


@pytest.mark.reference
def test_equals_the_benchmark(reference_data: Path, tmp_path: Path) -> None:
    """All 600 hit counts, the accuracies, and PxAP, from files in its layout."""
    reference = json.loads((reference_data / "wsol-reference" / "wsol_reference.json").read_text())
    arrays = np.load(reference_data / "wsol-reference" / "wsol_reference.npz")
    maps, masks, ids = tmp_path / "maps", tmp_path / "masks", reference["image_ids"]
    boxes, files = [], []
    for level_HW, mask_HW, name in zip(arrays["levels"], arrays["masks"], ids, strict=True):
        save(maps, name, np.where(level_HW == 255, 1.0, np.where(level_HW == 0, 0.0, level_HW + 0.5) / 255))
        boxes += [",".join([name, *map(str, map(int, box))]) for box in reference["gt_boxes_224"][name]]
        for kind, value in (("object", 1), ("ignored", 255)):
            path = masks / f"{name}_{kind}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.where(mask_HW == value, 255, 0).astype(np.uint8))
        files.append(f"{name},{name}_object.png,{name}_ignored.png")
    sizes = dict.fromkeys(ids, (224, 224))
    boxed = scored(maps=maps, metadata=write_metadata(tmp_path / "boxes", sizes, boxes), interval=0.01)
    pixels = scored(maps=maps, metadata=write_metadata(tmp_path / "pixels", sizes, files), masks=masks, interval=0.01)
    assert boxed.problems == pixels.problems == []
    hits, results, expected = boxed.hits(), boxed.results(), reference["expected"]
    for key, kind in (("max_box_accuracy", "largest_contour"), ("max_box_accuracy_v2", "multi_contour")):
        for iou in (30, 50, 70):
            assert hits[f"{key}/iou_{iou / 100:g}"] == expected[kind]["hits"][str(iou)]
    percent = expected["largest_contour"]["max_box_acc_percent"]
    assert 100 * results["max_box_accuracy"] == pytest.approx(percent["50"], abs=1e-9)
    percent = expected["multi_contour"]["max_box_acc_percent"]
    assert 100 * results["max_box_accuracy_v2"] == pytest.approx(sum(percent.values()) / 3, abs=1e-9)
    pxap = pixels.results()["pixel_average_precision"]
    assert 100 * pxap == pytest.approx(expected["pxap_percent"], abs=1e-9)
