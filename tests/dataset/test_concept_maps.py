"""Concepts end to end: a probe of drawn scenes, whose map is on what the captions speak of, or on what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from pattern_world import background, draw_object, pattern_backbone, two_places
from PIL import Image

from cam_lightning import load, localize
from cam_lightning.functional.overlap import intersection_over_union
from cam_lightning.run.prediction_table import read_predictions

SIZE = (64, 100)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[int]]]:
    """Two objects a scene, of any colours; of every second scene one has stripes, and its captions say so."""
    root = tmp_path_factory.mktemp("it's a = world")
    random = np.random.default_rng(0)
    (root / "Flicker8k_Dataset").mkdir()
    lines, box_of = [], {}
    for number in range(60):
        height, width = SIZE if number % 4 < 2 else (68, 96)
        image_HW3 = background(random, height, width)
        colours = random.choice(["red", "green", "blue", "grey"], 2).tolist()
        stripes = "upright" if number % 2 else ""
        (x, y), other = two_places(random, height, width)
        box = draw_object(image_HW3, x, y, colours[0], stripes)
        draw_object(image_HW3, *other, colours[1])
        name = f"{number}_scene.png"
        Image.fromarray(image_HW3).save(root / "Flicker8k_Dataset" / name)
        if stripes:
            box_of[name] = box
        lines.append(f"{name}#0\tA {colours[1]} square and {'Stripes' if stripes else 'a plain one'}.\n")
    (root / "Flickr8k.token.txt").write_text("".join(lines))
    return root, box_of


def options(root: Path, **further: Any) -> list[str]:
    given = {
        "dataset": "captions",
        "dataset.root": root,
        "dataset.phrase": "stripes",
        "dataset.image_size": f"[{SIZE[0]},{SIZE[1]}]",
        "classifier.c": 100,
        "features": root / "features",
        "trainer": "cpu",
        "box.threshold": 0.5,
        **further,
    }
    return [*pattern_backbone(root), *(f"{key}={value}" for key, value in given.items())]


@pytest.mark.slow
def test_asked_for_stripes_the_map_is_on_the_striped_object(scenes: Any, tmp_path: Path) -> None:
    root, box_of = scenes
    commands.run("probe", *options(root, run_dir=tmp_path / "probe"), cwd=tmp_path)
    results = json.loads((tmp_path / "probe" / "results.json").read_text())
    assert results["test/classification_error/top1"] == 0
    again = [
        f"checkpoint={tmp_path / 'probe'}",
        "trainer=cpu",
        "trust=[pattern_world]",
        f"run_dir={tmp_path / 'again'}",
    ]
    commands.run("evaluate", *again, cwd=tmp_path)
    evaluated = json.loads((tmp_path / "again" / "results.json").read_text())
    assert evaluated["test/classification_error/top1"] == 0
    test_ids = [row.id for row in read_predictions(tmp_path / "again" / "predictions.csv")]
    chosen = [path for path in test_ids if Path(path).name in box_of]
    assert len(chosen) > 3
    photos = ",".join(str(root / path) for path in chosen)
    given = [f"images=[{photos}]", f"checkpoint={tmp_path / 'probe'}", "trust=[pattern_world]", "device=cpu"]
    commands.run("predict", *given, f"run_dir={tmp_path / 'predicted'}", cwd=tmp_path)
    assert (tmp_path / "predicted" / "predictions.json").is_file()
    network = load(tmp_path / "probe", trust=["pattern_world"])
    for path, found in zip(chosen, localize(network, [root / path for path in chosen]), strict=True):
        assert found.names[0] == "stripes"
        truth_4 = torch.tensor(box_of[Path(path).name], dtype=torch.float32)
        assert intersection_over_union(torch.as_tensor(found.boxes_P4[0]), truth_4) > 0.5
