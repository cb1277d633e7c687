"""`explain` from a user's side: photos in folders, a table of boxes, and what bad input gets."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import commands
import numpy as np
import pytest
from PIL import Image

SIZE = 64
STRAY = os.fsdecode(b"n02119022_red fox \xe9.jpg")
"""A name that is no text, as old archives leave them."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("it's = my, photos")
    random = np.random.default_rng(0)
    for name in ("tench/a <b>.png", STRAY, "nobody knows.png"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        small = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((90, 60), Image.Resampling.BICUBIC).save(path)
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def given(weights: Path) -> list[str]:
    return ["backbone=squeezenet_gap", f"backbone.weights={weights}", f"image_size={SIZE}", "device=cpu"]


def test_the_command(photos: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("image,class,x0,y0,x1,y1\nnobody knows.png,goldfish,0,0,90,60\n")
    run_dir = tmp_path / "run"
    answer = commands.run(
        "explain", f"images={photos}", *given(weights), "truth=truth.csv", f"run_dir={run_dir}", cwd=tmp_path
    )
    lines = answer.stdout.splitlines()
    assert lines[-3:] == [
        f"page         {run_dir}/explanations.html",
        f"explanations {run_dir}/explanations.json",
        str(run_dir),
    ]
    assert "broken.jpg" in answer.stderr
    found = json.loads((run_dir / "explanations.json").read_text())
    assert [Path(each["path"]).name for each in found["images"]] == [
        STRAY,
        "nobody knows.png",
        "a <b>.png",
    ]
    assert [each["expected"] for each in found["images"]] == [277, 1, 0]
    assert [each["true_boxes"] for each in found["images"]] == [[], [[0, 0, 90, 60]], []]
    assert found["num_images"] == sum(found["counts"].values()) == 3
    assert set(found["counts"]) <= set(found["kinds"])
    assert len(found["unreadable"]) == 1
    for each in found["images"]:
        assert each["error"]["judged_by"] == ("true box" if each["true_boxes"] else "maps")
        assert 0 <= each["predicted"]["probability"] <= 1
        assert np.array(each["predicted"]["map"]).shape == np.array(each["other"]["map"]).shape
        assert each["predicted"]["class"] == each["expected"] or each["other"]["class"] == each["expected"]
    page = (run_dir / "explanations.html").read_text()
    assert len(re.findall(r'<img src="data:image/webp;base64,', page)) == 3 * 6
    assert "a &lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to look at: give images="),
        (["images=PHOTOS"], "no network to look with"),
        (["images=PHOTOS", "WEIGHTS", "expected=unicorn"], "expected 'unicorn' is none of the network's classes"),
        (["images=PHOTOS", "WEIGHTS", "truth=no.csv"], "truth=no.csv is no file"),
        (["images=PHOTOS", "WEIGHTS", "cam=[cam,grad_cam]"], "explain shows one map and its boxes"),
    ],
)
def test_bad_input_is_named(arguments: list[str], says: str, photos: Path, weights: Path, tmp_path: Path) -> None:
    options = [each.replace("PHOTOS", str(photos)) for each in arguments if each != "WEIGHTS"]
    options += given(weights) if "WEIGHTS" in arguments else []
    answer = commands.run("explain", *options, cwd=tmp_path, check=False)
    assert answer.returncode == 1
    assert says in answer.stderr
