"""`predict` from a user's side: a folder of awkward photos, and what bad input gets."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import hydra
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from cam_lightning import load, localize, predict
from cam_lightning.launch.entry_point import CONF, readable, register_resolvers
from cam_lightning.launch.photos import wanted_images
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.place import VERSION_BASE
from cam_lightning.sink.photo_predictions import _ahead

SIZE = 64


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait that a camera stored lying down, a wide PNG, a grey one, one with transparency, and no photo."""
    folder = tmp_path_factory.mktemp("it's = my, photos")
    random = np.random.default_rng(0)

    def picture(height: int, width: int) -> Image.Image:
        small = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)

    exif = Image.Exif()
    exif[0x0112] = 6
    picture(60, 90).save(folder / "carpenter's kit.jpg", exif=exif, quality=95)
    picture(50, 120).save(folder / "a=b, c.png")
    picture(80, 70).convert("L").save(folder / "grey.jpg")
    (folder / "below").mkdir()
    picture(40, 44).convert("RGBA").save(folder / "below" / "see through.png")
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_text("not asked for")
    return folder


def ran(tmp_path: Path, *arguments: str) -> Path:
    """Runs the work of `predict` on a command line's arguments, in this process."""
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        config = hydra.compose("predict", overrides=readable(list(arguments)))
    run = RunDirectory.create(tmp_path, "x", tmp_path / "run")
    predict.run(config, run)
    return run.path


@pytest.fixture(autouse=True)
def _outside_of_any_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (RUN_DIR_VARIABLE, "LOCAL_RANK"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


def read(run_dir: Path) -> Any:
    return json.loads((run_dir / "predictions.json").read_text(encoding="utf-8"))


def with_weights(weights: Path) -> list[str]:
    return ["backbone=squeezenet_gap", f"backbone.weights={weights}", f"image_size={SIZE}", "batch_size=2"]


def test_a_folder_of_photos(photos: Path, weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run_dir = ran(tmp_path, f"images={photos}", *with_weights(weights), "box.threshold=0.3")
    predictions = read(run_dir)
    # In the order of their paths.
    sizes = {
        "a=b, c.png": (120, 50),
        "below/see through.png": (44, 40),
        "carpenter's kit.jpg": (60, 90),
        "grey.jpg": (70, 80),
    }
    assert [image["path"] for image in predictions["images"]] == [str(photos / name) for name in sizes]
    assert [(image["width"], image["height"]) for image in predictions["images"]] == list(sizes.values())
    assert (predictions["num_images"], predictions["num_unreadable"]) == (4, 1)
    (unreadable,) = predictions["unreadable"]
    assert unreadable["path"] == str(photos / "broken.jpg")
    assert "cannot be read as an image" in unreadable["error"]
    assert f"left out: {photos / 'broken.jpg'}" in caplog.text
    assert "1 of 5 files could not be read" in caplog.text
    assert predictions["protocol"]["box"]["threshold"] == 0.3
    assert predictions["protocol"]["weights"] == str(weights)
    assert predictions["protocol"]["image_size"] == [SIZE, SIZE]
    assert sorted(path.name for path in run_dir.iterdir()) == ["overlays", "predictions.json", "status.json"]

    network = load("squeezenet_gap", weights=str(weights))
    for image in predictions["images"]:
        with Image.open(image["path"]) as stored:
            pixels = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
        (found,) = localize(network, pixels, image_size=SIZE)
        assert image["probabilities"] == pytest.approx(found.probability_T.tolist(), abs=1e-4)
        assert image["probabilities"] == sorted(image["probabilities"], reverse=True)
        assert len(image["classes"]) == len(image["names"]) == len(image["boxes"]) == 5
        for x0, y0, x1, y1 in image["boxes"]:
            assert 0 <= x0 < x1 <= image["width"]
            assert 0 <= y0 < y1 <= image["height"]


def test_overlays_keep_the_photo_s_proportions_and_show_the_box(photos: Path, weights: Path, tmp_path: Path) -> None:
    run_dir = ran(tmp_path, f"images={photos}", *with_weights(weights), "colour_map=jet")
    predictions = read(run_dir)
    names = [Path(image["overlay"]).name for image in predictions["images"]]
    assert sorted(path.name for path in (run_dir / "overlays").iterdir()) == sorted(names)
    assert names[2].endswith("_carpenter's kit.png")
    for image in predictions["images"]:
        picture = np.asarray(Image.open(run_dir / image["overlay"]))
        height, width = picture.shape[0] - 46, (picture.shape[1] - 4) // 2
        assert width / height == pytest.approx(image["width"] / image["height"], rel=0.02)
        # The left half is the photo alone; the right one has the cyan outline at the box's edges.
        cyan = (picture[:height] == (0, 229, 255)).all(-1)
        assert not cyan[:, :width].any()
        ys, xs = np.nonzero(cyan[:, width + 4 :])
        scale = width / image["width"]
        drawn = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert drawn == pytest.approx([edge * scale for edge in image["boxes"][0]], abs=2.1)


def test_no_overlays_but_the_same_predictions(photos: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with_pictures = ran(tmp_path, f"images={photos}/*.jpg", *with_weights(weights))
    without = ran(tmp_path / "other", f"images={photos}/*.jpg", *with_weights(weights), "overlays=false")
    assert not (without / "overlays").exists()
    images = [{**image, "overlay": None} for image in read(with_pictures)["images"]]
    assert images == read(without)["images"]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ([], ValueError, "nothing to look at: give images="),
        (["images="], FileNotFoundError, "images= names no image: give files"),
        (["images=[PHOTOS,'']"], FileNotFoundError, "images= names no image"),
        (["images=' '"], FileNotFoundError, "images= names no image"),
        (["images=[]"], FileNotFoundError, r"images=\[\] names no image"),
        (["images=PHOTOS/*.bmp"], FileNotFoundError, "no file matches"),
        (["images=[PHOTOS,no.jpg]"], FileNotFoundError, "images=no.jpg: no such file or folder"),
        (["images=PHOTOS"], ValueError, "no network to look with: give checkpoint=FILE"),
        (["images=PHOTOS", "checkpoint=a.ckpt", "backbone.weights=imagenet"], ValueError, "two networks"),
        (["images=PHOTOS", "checkpoint=a.ckpt"], FileNotFoundError, "a.ckpt does not exist"),
        (["images=PHOTOS", "WEIGHTS", "colour_map=rainbow"], ValueError, "colour_map is one of inferno"),
        (["images=PHOTOS", "WEIGHTS", "device=warp"], ValueError, "device is auto, cpu or cuda"),
        (["images=PHOTOS/broken.jpg", "WEIGHTS"], OSError, "none of the 1 files can be read as an image: .*broken.jpg"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_named(
    arguments: list[str], error: type[Exception], says: str, photos: Path, weights: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "photos"
    plain.symlink_to(photos)
    given = [a.replace("PHOTOS", str(plain)) for a in arguments if a != "WEIGHTS"]
    given += ["backbone=squeezenet_gap", f"backbone.weights={weights}"] if "WEIGHTS" in arguments else []
    with pytest.raises(error, match=says):
        ran(tmp_path, *given)
    assert not (tmp_path / "run" / "predictions.json").exists()


@pytest.mark.parametrize("broken", ["overflow", "nan"])
def test_a_network_that_says_no_number_predicts_nothing(
    broken: str, photos: Path, weights: Path, tmp_path: Path
) -> None:
    """Named are the layer or the parameter, and the photos, of which the unreadable one is none."""
    state = torch.load(weights, weights_only=True)
    state["trunk.0.weight"] *= 1e38 if broken == "overflow" else math.nan
    torch.save(state, tmp_path / "broken.pth")
    arguments = [f"images={photos}", *with_weights(tmp_path / "broken.pth")]
    said = {
        "overflow": rf"no finite number for {photos}/a=b, c\.png, .*below/see through\.png: the first layer whose "
        r"output is not finite is trunk\.\S+ \(Conv2d, values up to ",
        "nan": r"broken\.pth is broken: trunk\.0\.weight has [\d,]+ of [\d,]+ values that are NaN or infinite",
    }[broken]
    with pytest.raises((FloatingPointError, ValueError), match=said):
        ran(tmp_path, *arguments)
    assert not (tmp_path / "run" / "predictions.json").exists()


@pytest.mark.parametrize(
    "value",
    ["it's here.jpg", "a=b.jpg", "a, b.jpg", "a,b.jpg", "[1].jpg", "(x) {y}.jpg", "ümlaut 50 %.jpg", 'say "hi".jpg'],
)
def test_any_photo_can_be_given_on_the_command_line(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cam_lightning.dataset.pipeline.photo_files import find_photos

    monkeypatch.chdir(tmp_path)
    (tmp_path / value).touch()
    (tmp_path / "other one.jpg").touch()
    register_resolvers()
    quoted = value.replace("'", "\\'")
    for argument, expected in (
        (f"images={value}", [value]),
        (f"images=[other one.jpg,'{quoted}']", ["other one.jpg", value]),
    ):
        with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
            config = hydra.compose("predict", overrides=readable([argument]))
        assert find_photos(wanted_images(config)) == [Path(name) for name in expected]


def test_only_a_few_items_are_held_at_a_time() -> None:
    """Many photos need no more memory than a few: reading stops until results are taken."""
    begun = 0

    def items() -> Iterator[int]:
        nonlocal begun
        for item in range(1000):
            begun += 1
            yield item

    results = _ahead(lambda item: (time.sleep(0.001 * (item % 3)), item * item)[1], items())
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert begun <= 3 + 8
    assert list(results) == [item * item for item in range(3, 1000)]


def test_the_command(photos: Path, weights: Path, tmp_path: Path) -> None:
    """The whole way: a path with an apostrophe and a comma, the files named at the end, the run's path last."""
    run_dir = tmp_path / "run"
    arguments = [f"images={photos}", *with_weights(weights), "device=cpu", f"run_dir={run_dir}"]
    answer = commands.run("predict", *arguments, cwd=tmp_path)
    assert [line.split(maxsplit=1) for line in answer.stdout.splitlines()] == [
        ["overlays", f"{run_dir}/overlays"],
        ["predictions", f"{run_dir}/predictions.json"],
        [str(run_dir)],
    ]
    assert "left out:" in answer.stderr
    assert "broken.jpg" in answer.stderr
    assert json.loads((run_dir / "status.json").read_text())["state"] == "finished"
    assert read(run_dir)["num_images"] == 4


def test_several_maps_of_one_forward_are_each_called_by_their_name(photos: Path, weights: Path, tmp_path: Path) -> None:
    """Each as if it were asked for alone; the first is the photo's own, all are in one picture."""
    common = [f"images={photos}/*.jpg", *with_weights(weights)]
    several = [*common, "cam=[cam,grad_cam,eigen_cam]", "box=[largest_component,distance_transform]"]
    run_dir = ran(tmp_path, *several)
    predictions = read(run_dir)
    arms = [
        "distance_transform", "grad_cam", "grad_cam/distance_transform", "eigen_cam", "eigen_cam/distance_transform",
    ]  # fmt: skip
    assert all(list(image["further"]) == arms for image in predictions["images"])
    assert len(predictions["images"]) == 2
    told = predictions["protocol"]
    assert (told["cam"]["method"], list(told["further"]["cam"])) == ("ClassActivationMap", ["grad_cam", "eigen_cam"])
    assert told["further"]["box"]["distance_transform"]["method"] == "DistanceTransform"
    for arm in ("", "eigen_cam", "grad_cam/distance_transform"):
        cam, _, box = (arm or "cam").partition("/")
        (tmp_path / f"alone {cam}").mkdir()
        alone = ran(tmp_path / f"alone {cam}", *common, f"cam={cam}", f"box={box or 'largest_component'}")
        for image, one in zip(predictions["images"], read(alone)["images"], strict=True):
            found = image["further"][arm] if arm else image
            assert "further" not in one
            assert {key: found[key] for key in ("boxes", "ranks", "whole_image")} == {
                key: one[key] for key in ("boxes", "ranks", "whole_image")
            }
            if not arm:
                together = np.asarray(Image.open(run_dir / image["overlay"]))
                by_itself = np.asarray(Image.open(alone / one["overlay"]))
                assert len(together) == 6 * len(by_itself)
                panels = np.split(together, 6)
                np.testing.assert_array_equal(panels[0], by_itself)
                assert not np.array_equal(panels[0], panels[4]), "the picture shows one map under two names"


def test_explain_does_not_drop_maps_in_silence(weights: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    answer = commands.run(
        "explain", "images=a.png", "backbone=squeezenet_gap", f"backbone.weights={weights}", "cam=[cam,grad_cam]",
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "explain shows one map and its boxes" in answer.stderr
