"""The synthetic scenes: pure in (seed, index), exact in their truth, and free of shortcuts."""

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest

from cam_lightning.dataset.scene.scene import CLASS_NAMES, Scene, draw_scene, scene_label, scene_size
from cam_lightning.dataset.scene.texture import SHEET, TILE, class_sheet, clutter_sheets

SEED = 5


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(SEED, index) for index in range(300)]


def digest(scene: Scene) -> str:
    return hashlib.sha256(scene.image_HW3.tobytes() + scene.masks_NHW.tobytes()).hexdigest()


def iou(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    overlap = 1.0
    for low, high in ((0, 2), (1, 3)):
        overlap *= max(0.0, min(first[high], second[high]) - max(first[low], second[low]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return overlap / (sum(areas) - overlap)


def test_a_scene_depends_on_its_seed_and_index_alone(scenes: list[Scene]) -> None:
    for index in (7, 3, 7):
        assert digest(draw_scene(SEED, index)) == digest(scenes[index])
    assert len({digest(scene) for scene in [*scenes, draw_scene(SEED + 1, 0)]}) == len(scenes) + 1


def test_another_process_draws_the_same_bytes_in_another_order(scenes: list[Scene]) -> None:
    indices = [31, 4, 15, 9]
    code = f"""
import hashlib
import cv2
from cam_lightning.dataset.scene.scene import draw_scene
cv2.setNumThreads(1)
for index in {indices}:
    scene = draw_scene({SEED}, index)
    print(hashlib.sha256(scene.image_HW3.tobytes() + scene.masks_NHW.tobytes()).hexdigest())
"""
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.split() == [digest(scenes[index]) for index in indices]


def test_streams_are_unrelated_where_seed_and_index_add_up_to_the_same() -> None:
    assert len({digest(draw_scene(seed, 10 - seed)) for seed in range(5)}) == 5
    assert scene_size(1, 2) != scene_size(2, 1)


def test_size_and_label_are_known_without_drawing(scenes: list[Scene]) -> None:
    for index, scene in enumerate(scenes):
        assert scene.image_HW3.shape == (*scene_size(SEED, index), 3)
        assert scene.image_HW3.dtype == np.uint8
        assert scene.label == scene_label(SEED, index)


def test_boxes_are_the_tight_half_open_boxes_of_the_masks(scenes: list[Scene]) -> None:
    for scene in scenes[:40]:
        assert scene.boxes_N4.dtype == np.float32
        assert scene.masks_NHW.dtype == np.bool_
        assert scene.masks_NHW.shape == (len(scene.boxes_N4), *scene.image_HW3.shape[:2])
        for box, mask in zip(scene.boxes_N4.tolist(), scene.masks_NHW.tolist(), strict=True):
            seen = [(x, y) for y, row in enumerate(mask) for x, inside in enumerate(row) if inside]
            xs, ys = [x for x, _ in seen], [y for _, y in seen]
            assert box == [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def test_objects_lie_inside_the_image_and_apart_from_one_another(scenes: list[Scene]) -> None:
    for scene in scenes:
        height, width = scene.image_HW3.shape[:2]
        for x0, y0, x1, y1 in scene.boxes_N4.tolist():
            assert 0 < x0 < x1 < width
            assert 0 < y0 < y1 < height
        for first, second in itertools.combinations(scene.boxes_N4.tolist(), 2):
            assert iou(first, second) == 0


def test_most_scenes_hold_one_object_and_some_two(scenes: list[Scene]) -> None:
    counts = [len(scene.boxes_N4) for scene in scenes]
    assert set(counts) == {1, 2}
    assert 0.02 < counts.count(2) / len(counts) < 0.1


def test_classes_are_balanced(scenes: list[Scene]) -> None:
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 10
    for start in (0, 3, 250):
        assert {scene.label for scene in scenes[start : start + 10]} == set(range(10))


def test_sizes_vary_and_are_never_square() -> None:
    sizes = [scene_size(SEED, index) for index in range(1000)]
    ratios = [width / height for height, width in sizes]
    assert all(height != width and min(height, width) >= 90 and max(height, width) <= 180 for height, width in sizes)
    assert min(ratios) < 0.65
    assert max(ratios) > 1.55
    assert 0.4 < sum(ratio > 1 for ratio in ratios) / len(ratios) < 0.6
    assert len(set(sizes)) > 300


def test_objects_are_of_many_sizes(scenes: list[Scene]) -> None:
    shares = []
    for scene in scenes:
        height, width = scene.image_HW3.shape[:2]
        shares += [(x1 - x0) * (y1 - y0) / (height * width) for x0, y0, x1, y1 in scene.boxes_N4.tolist()]
    assert 0.03 < min(shares) < 0.07
    assert 0.4 < max(shares) < 0.52
    assert 0.2 < float(np.median(shares)) < 0.3


@pytest.mark.parametrize("side", [1.0, 0.75, 0.5])
def test_a_centred_box_misses_most_objects(scenes: list[Scene], side: float) -> None:
    misses = 0
    for scene in scenes:
        height, width = scene.image_HW3.shape[:2]
        low, high = (1 - side) / 2, (1 + side) / 2
        guess = (low * width, low * height, high * width, high * height)
        misses += max(iou(guess, tuple(box)) for box in scene.boxes_N4.tolist()) < 0.5
    assert misses / len(scenes) >= 0.6


def test_the_mean_colour_does_not_tell_the_class() -> None:
    """Nearest class mean, fitted on 600 scenes and tried on 400: chance is 0.1, its deviation 0.015."""
    colours: list[np.ndarray] = []
    for index in range(1000):
        scene = draw_scene(SEED + 1, index)
        colours.append(scene.image_HW3[scene.masks_NHW.any(0)].mean(0))
    known, asked = np.stack(colours[:600]), np.stack(colours[600:])
    means = np.stack([known[label::10].mean(0) for label in range(10)])
    guesses = np.linalg.norm(asked[:, None] - means, axis=2).argmin(1)
    assert (guesses == np.arange(600, 1000) % 10).mean() < 0.16


def test_an_object_differs_from_its_surroundings_by_its_pattern(scenes: list[Scene]) -> None:
    """Evidence of the class lies all over its body: grey steps are larger within the mask than without."""
    inside, outside = [], []
    for scene in scenes:
        grey = scene.image_HW3.mean(2)
        steps = np.abs(np.diff(grey, axis=1))
        mask = scene.masks_NHW.any(0)[:, 1:]
        inside.append(steps[mask].mean())
        outside.append(steps[~mask].mean())
    assert np.mean(np.array(inside) > np.array(outside)) > 0.9


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_patterns_repeat_without_a_seam(name: str) -> None:
    sheet = class_sheet(name).astype(int)
    assert sheet.shape == (SHEET, SHEET)
    assert np.array_equal(sheet, np.roll(sheet, (TILE, 2 * TILE), (0, 1)))
    for axis in (0, 1):
        steps = np.abs(np.diff(sheet, axis=axis)).mean(1 - axis)
        assert steps[TILE - 1] <= steps.max(initial=0, where=np.arange(SHEET - 1) % TILE != TILE - 1)


def test_clutter_is_not_flat() -> None:
    for sheet in clutter_sheets():
        assert sheet.shape == (SHEET, SHEET)
        assert sheet.std() > 30
