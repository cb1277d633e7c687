"""One map's file: taken as it is, mended as the benchmark would, or told to be none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cam_lightning.dataset.format.map_folder import PROBLEMS, read_mask, read_score_map
from cam_lightning.dataset.format.wsol_metadata import read_metadata
from cam_lightning.functional.post_processing import PostProcessing, score_map

SIZE = (4, 6)


def scores(dtype: type = np.float64) -> np.ndarray:
    return np.linspace(0, 1, 24).reshape(SIZE).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8, np.bool_])
def test_a_map_as_it_should_be_is_taken_as_it_is(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "map.npy", scores(dtype))
    score_HW, problems = read_score_map(tmp_path / "map.npy", SIZE)
    assert score_HW is not None
    assert score_HW.dtype == np.float64
    np.testing.assert_array_equal(score_HW, scores(dtype).astype(np.float64))
    assert problems == []


@pytest.mark.parametrize(
    ("map_hw", "problems"),
    [
        (np.array([[0.0, 0.5], [1.0, 0.25]], np.float16), ["other_size"]),
        (scores() * 255, ["other_range"]),
        (scores() - 0.5, ["other_range"]),
        (np.array([[0, 7, 255]], np.uint8), ["other_size", "other_range"]),
    ],
)
def test_another_size_or_range_is_made_as_the_benchmark_makes_its_own_maps(
    tmp_path: Path, map_hw: np.ndarray, problems: list[str]
) -> None:
    """Bicubic upsampling (cv2, there), then the minimum becomes 0 and the maximum 1."""
    np.save(tmp_path / "map.npy", map_hw)
    score_HW, found = read_score_map(tmp_path / "map.npy", SIZE)
    upsampled_HW = cv2.resize(map_hw.astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    expected_HW = (upsampled_HW - upsampled_HW.min()) / (upsampled_HW.max() - upsampled_HW.min())
    assert score_HW is not None
    np.testing.assert_allclose(score_HW, expected_HW, atol=1e-5)
    assert (score_HW.min(), score_HW.max()) == (0, 1)
    assert found == problems


def test_maps_that_name_no_region(tmp_path: Path) -> None:
    broken = scores()
    broken[1, 1] = np.nan
    for map_hw, problems, value in (
        (broken, ["not_finite"], 0.0),
        (np.full((2, 2), np.inf), ["other_size", "not_finite"], 0.0),
        (np.full(SIZE, 1e300), ["not_finite"], 0.0),
        (np.full(SIZE, 0.25), ["constant"], 0.25),
        (np.full(SIZE, 7.0), ["constant", "other_range"], 0.0),
    ):
        np.save(tmp_path / "map.npy", map_hw)
        score_HW, found = read_score_map(tmp_path / "map.npy", SIZE)
        np.testing.assert_array_equal(score_HW, np.full(SIZE, value))
        assert sorted(found) == sorted(problems)
        assert set(found) <= set(PROBLEMS)


def test_files_that_are_no_maps(tmp_path: Path) -> None:
    path = tmp_path / "map.npy"
    assert read_score_map(path, SIZE) == (None, ["missing"])
    np.save(path, scores())
    whole = path.read_bytes()
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    contents = [whole[:-8], whole[:20], b"", b"not an array", path.read_bytes()]
    for other in (scores()[None], np.zeros((0, 3)), np.array([["a"]]), scores().astype(complex)):
        np.save(path, other)
        contents.append(path.read_bytes())
    for content in contents:
        path.write_bytes(content)
        assert read_score_map(path, SIZE) == (None, ["unreadable"])


def test_a_mask_of_two_instances_and_what_is_ignored(tmp_path: Path) -> None:
    """Files at twice the map's size; an instance wins over what is ignored."""
    pictures = {"a.png": [[255, 0, 0]], "sub/b.png": [[0, 7, 0]], "ignore.png": [[0, 255, 255]]}
    for name, rows in pictures.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.kron(np.array(rows, np.uint8), np.ones((4, 2), np.uint8)))
    (tmp_path / "image_ids.txt").write_text("x/1.jpg\nx/2.jpg\nx/3.jpg\n")
    (tmp_path / "localization.txt").write_text(
        "x/1.jpg,a.png,ignore.png\nx/1.jpg,sub/b.png,\nx/2.jpg,a.png,\nx/3.jpg,no.png,\n"
    )
    metadata = read_metadata(tmp_path, labels=False)
    assert read_mask(metadata, tmp_path, 0, (2, 3)).tolist() == [[1, 1, 255]] * 2
    assert read_mask(metadata, tmp_path, 1, (2, 3)).tolist() == [[1, 0, 0]] * 2
    with pytest.raises(FileNotFoundError, match=r"no\.png is not there"):
        read_mask(metadata, tmp_path, 2, (2, 3))


def test_the_normalisation_is_that_of_the_metrics(tmp_path: Path) -> None:
    map_hw = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    np.save(tmp_path / "map.npy", map_hw)
    score_HW, _ = read_score_map(tmp_path / "map.npy", SIZE)
    rule = PostProcessing("bicubic", normalise="minmax")
    np.testing.assert_array_equal(score_HW, score_map(torch.from_numpy(map_hw), SIZE, rule))
