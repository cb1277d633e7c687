"""The entry points from a user's side: whole runs, tiny ones, and what bad input gets."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import torch
from commands import run

from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.place import CONF, VERSION_BASE
from cam_lightning.train import _warn

TINY = [
    "dataset.num_train=41",
    "dataset.num_test=23",
    "dataset.image_size=[48,64]",
    "dataset.train_size=48",
    "dataset.batch_size=4",
    "dataset.val_fraction=0.25",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=2",
]


def results_of(run_dir: Path) -> dict[str, object]:
    return json.loads((run_dir / "results.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose directory has every character that a path may have."""
    folder = tmp_path_factory.mktemp("train")
    run_dir = folder / "it's a=run, [1]"
    escaped = str(run_dir).replace("'", "\\'")
    done = run("train", *TINY, f"run_dir='{escaped}'", cwd=folder)
    assert done.stdout.rstrip().splitlines()[-1] == str(run_dir), "the run's path is the last line"
    return run_dir


def test_a_run_leaves_what_the_readme_promises(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {
        "config.yaml",
        "metrics.csv",
        "results.json",
        "predictions.csv",
        "threshold_curves.json",
        "overlays",
        "checkpoints",
    } <= names
    assert json.loads((trained / "status.json").read_text())["state"] == "finished"
    assert not [path.name for path in trained.rglob("*") if "=" in path.name]
    assert not [name for name in names if name.startswith(".")], "parts are merged and removed"


def test_results_are_flat_fractions_with_baselines_and_protocol(trained: Path) -> None:
    results = results_of(trained)
    for key in ("classification_error/top1", "classification_error/top5", "gt_known_error"):
        assert 0 <= results[f"test/{key}"] <= 1  # type: ignore[operator]
    for baseline in ("whole_image", "centre_box"):
        for key in ("localization_error/top1", "localization_error/top5", "gt_known_error"):
            assert 0 <= results[f"test/baseline/{baseline}/{key}"] <= 1  # type: ignore[operator]
    for key in ("localization_error/top1", "localization_error/top5", "gt_known_error"):
        assert {f"test/{key}@{rule}" for rule in ("0.3", "selected", "oracle")} <= results.keys()
        assert results[f"test/{key}@oracle"] <= min(results[f"test/{key}"], results[f"test/{key}@selected"])  # type: ignore[call-overload, type-var]
    groups = {key: value for key, value in results.items() if key.startswith("test/gt_known_error_by_size/")}
    assert sum(value for key, value in groups.items() if key.endswith("num_images")) == 23  # type: ignore[misc]
    assert results["test/num_images"] == results["test/num_with_boxes"] == 23
    protocol = {key.partition("/")[2]: value for key, value in results.items() if key.startswith("protocol/")}
    expected = {
        "input_size": [48, 64],
        "evaluation_precision": "float32",
        "cam": "ClassActivationMap",
        "box/threshold": 0.2,
        "baseline/centre_box": 0.75,
        "metric/gt_known_error": "cam_lightning.metric.gt_known_error.GtKnownError",
        "metric/gt_known_error/iou_threshold": 0.5,
        "epochs": 1,
        "steps": 7,
    }
    assert {key: protocol[key] for key in expected} == expected


def test_results_are_the_counts_of_the_predictions(trained: Path) -> None:
    with (trained / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"test/{index:06d}" for index in range(23)]
    wrong = {"classification": 0, "localization": 0, "gt_known": 0}
    for row in rows:
        first_is_right = json.loads(row["classes"])[0] == int(row["label"])
        wrong["classification"] += not first_is_right
        wrong["localization"] += not (first_is_right and json.loads(row["ious"])[0] >= 0.5)
        wrong["gt_known"] += not float(row["gt_known_iou"]) >= 0.5
    results = results_of(trained)
    assert results["test/classification_error/top1"] == wrong["classification"] / 23
    assert results["test/localization_error/top1"] == wrong["localization"] / 23
    assert results["test/gt_known_error"] == wrong["gt_known"] / 23


def test_evaluating_the_checkpoint_gives_the_run_s_own_numbers(trained: Path, tmp_path: Path) -> None:
    run("evaluate", f"checkpoint='{str(trained).replace(chr(39), chr(92) + chr(39))}/checkpoints/last.ckpt'",
        "trainer=cpu", f"run_dir={tmp_path}/evaluated", cwd=tmp_path)  # fmt: skip
    assert (tmp_path / "evaluated" / "predictions.csv").read_bytes() == (trained / "predictions.csv").read_bytes()
    ours, theirs = results_of(tmp_path / "evaluated"), results_of(trained)
    assert {k: v for k, v in ours.items() if k.startswith("test/")} == {
        k: v for k, v in theirs.items() if k.startswith("test/")
    }


def test_an_option_given_to_evaluate_changes_that_option_alone(trained: Path, tmp_path: Path) -> None:
    checkpoint = str(trained / "checkpoints" / "last.ckpt").replace("'", "\\'")
    run(
        "evaluate",
        f"checkpoint='{checkpoint}'",
        "trainer=cpu",
        "box.threshold=0.6",
        "select_threshold=true",
        f"run_dir={tmp_path}/e",
        cwd=tmp_path,
    )
    results = results_of(tmp_path / "e")
    assert results["protocol/box/threshold"] == 0.6
    assert results["test/num_images"] == 23, "the dataset is the checkpoint's"
    for key in ("gt_known_error@selected", "gt_known_error@selected/threshold"):
        assert results[f"test/{key}"] == results_of(trained)[f"test/{key}"], "selected anew, on the same validation"
    assert results["test/classification_error/top1"] == results_of(trained)["test/classification_error/top1"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_checkpoint_with_a_weight_that_is_no_number_has_no_results(
    trained: Path, tmp_path: Path, value: float
) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    name = next(key for key, weight in checkpoint["state_dict"].items() if weight.ndim == 4)
    checkpoint["state_dict"][name][0, 0, 0, 0] = value
    torch.save(checkpoint, tmp_path / "broken.ckpt")
    run_dir = tmp_path / "run"
    done = run("evaluate", f"checkpoint={tmp_path}/broken.ckpt", "trainer=cpu", f"run_dir={run_dir}", cwd=tmp_path,
               check=False)  # fmt: skip
    assert done.returncode != 0
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert name.removeprefix("network.").rpartition(".")[0] in said, "the layer"
    assert "Traceback" not in done.stdout + done.stderr
    assert not (run_dir / "results.json").exists()
    assert json.loads((run_dir / "status.json").read_text())["state"] == "failed"


def test_evaluating_on_other_images_keeps_the_network_s_input_size(trained: Path, tmp_path: Path) -> None:
    """And a run's directory stands for its last checkpoint."""
    escaped = str(trained).replace("'", "\\'")
    done = run("evaluate", f"checkpoint='{escaped}'", "dataset=shapes", "dataset.num_test=20", "cam=ten_crop",
               "cam.crop_size=40", "trainer=cpu", f"run_dir={tmp_path}/e", cwd=tmp_path, check=False)  # fmt: skip
    assert "they are 48×64" in done.stderr, "ten crops need squares"
    run("evaluate", f"checkpoint='{escaped}'", "dataset=shapes", "dataset.num_test=20", "cam=ten_crop",
        "dataset.image_size=48", "cam.crop_size=40", "cam.merge=mean", "trainer=cpu",
        f"run_dir={tmp_path}/squares", cwd=tmp_path)  # fmt: skip
    protocol = results_of(tmp_path / "squares")
    assert protocol["protocol/input_size"] == [48, 48]
    assert (protocol["protocol/cam"], protocol["protocol/cam/merge"]) == ("TenCropMap", "mean")
    assert not any("@selected" in key for key in protocol), "its threshold was chosen for other maps"


def test_the_best_checkpoint_is_tested_with_its_own_thresholds(tmp_path: Path) -> None:
    run("train", *TINY, "trainer.max_epochs=3", "method/schedule=constant", "method.learning_rate=0.002",
        "test_checkpoint=best", "callback.checkpoint.monitor=val/gt_known_error", "callback.checkpoint.mode=min",
        f"run_dir={tmp_path}/run", cwd=tmp_path)  # fmt: skip
    run("evaluate", f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", "trainer=cpu", f"run_dir={tmp_path}/e",
        cwd=tmp_path)  # fmt: skip
    trained, evaluated = results_of(tmp_path / "run"), results_of(tmp_path / "e")
    numbers = {key: value for key, value in evaluated.items() if key.startswith("test/")}
    assert "test/gt_known_error@selected" in numbers
    assert numbers == {key: value for key, value in trained.items() if key.startswith("test/")}
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        errors = {int(row["epoch"]): float(row["value"]) for row in csv.DictReader(file)
                  if row["key"] == "val/gt_known_error"}  # fmt: skip
    first_best = min(errors, key=lambda epoch: errors[epoch])
    assert (trained["protocol/epochs"], trained["protocol/steps"]) == (first_best + 1, 7 * (first_best + 1))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["test_checkpoint=best", "callback.checkpoint.monitor=null"], "needs callback.checkpoint.monitor"),
        (["test_checkpoint=best", "trainer.check_val_every_n_epoch=2"], "test_checkpoint=best needs a validation"),
        (["metric.gt_known_error.iou_threshold=0.7"], "hit_iou alone sets all of them"),
        (["backbone=vgg16", "cam=cam"], "has no class activation map"),
        (["test_checkpoint=first"], "test_checkpoint is last or best"),
        (["dataset.classes=[basket,nonsense]"], "'nonsense', not a class of the dataset"),
        (["trainer=gpu", "trainer.devices=64"], "asks for 64 GPU(s), and torch sees"),
        (["backbone.weights=nowhere.pth"], "nowhere.pth"),
        (["method.learning_rate=1e30"], "Lower method.learning_rate"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_bad_input_gets_one_clear_line_and_a_code(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = run("train", *TINY, *arguments, f"run_dir={tmp_path}/run", cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "failed"
    assert "Traceback" in status["traceback"]


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    done = run("train", "dataset=tiny_imagenet", "dataset.root=nowhere.zip", "trainer=cpu", cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "nowhere.zip does not exist" in done.stderr


def test_a_run_directory_in_use_is_refused_and_left_as_it_is(trained: Path, tmp_path: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in trained.iterdir())
    escaped = str(trained).replace("'", "\\'")
    done = run("train", *TINY, f"run_dir='{escaped}'", cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "already in use" in done.stderr
    assert sorted((path.name, path.stat().st_mtime_ns) for path in trained.iterdir()) == before


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("backbone.pool=max backbone.variant=caffe", "is of another network"),
        ("dataset.num_test=0", "dataset.num_test"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(option: str, says: str, trained: Path, tmp_path: Path) -> None:
    checkpoint = str(trained / "checkpoints" / "last.ckpt").replace("'", "\\'")
    done = run("evaluate", f"checkpoint='{checkpoint}'", "trainer=cpu", *option.split(), f"run_dir={tmp_path}/e",
               cwd=tmp_path, check=False)  # fmt: skip
    assert done.returncode != 0
    assert says in done.stderr


def test_a_truncated_checkpoint_is_named(trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes()[:5000])
    done = run("evaluate", f"checkpoint={broken}", "trainer=cpu", cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert f"checkpoint={broken} is damaged" in done.stderr


def test_two_processes_count_what_one_counts(tmp_path: Path) -> None:
    """DDP on two CPU processes; 23 test images divide by neither 2 processes nor batches of 4."""
    # The second rank is started with the command line of the first, which has to be a real one.
    done = subprocess.run(
        [sys.executable, "-m", "cam_lightning.train", *TINY, "trainer.devices=2", f"run_dir={tmp_path}/two"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checkpoint = f"checkpoint={tmp_path}/two/checkpoints/last.ckpt"
    run("evaluate", checkpoint, "trainer=cpu", f"run_dir={tmp_path}/one", cwd=tmp_path)
    one, two = results_of(tmp_path / "one"), results_of(tmp_path / "two")
    assert two["test/num_images"] == 23
    for key in (key for key in one if key.startswith("test/") and key != "test/loss"):
        assert one[key] == two[key], f"{key}: one process {one[key]}, two {two[key]}"
    assert one["test/loss"] == pytest.approx(two["test/loss"], rel=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"], "no rank makes a directory of its own"


def test_fast_dev_run_works(tmp_path: Path) -> None:
    run("train", *TINY, "trainer.fast_dev_run=true", f"run_dir={tmp_path}/run", cwd=tmp_path)
    assert (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["method=classification_released"], "the paper's rate for fine-tuning"),
        (["method=classification_released", "backbone.weights=FILE"], ""),
        (["trainer.max_epochs=7", "trainer.check_val_every_n_epoch=3"], "no validation follows the last 1 epoch(s)"),
        (["trainer.max_epochs=6", "trainer.check_val_every_n_epoch=3"], ""),
        (["trainer.max_epochs=7", "trainer.check_val_every_n_epoch=3", "trainer.limit_val_batches=0"], ""),
        (["trainer.max_epochs=-1", "trainer.max_steps=10", "trainer.check_val_every_n_epoch=3"], ""),
    ],
)
def test_what_few_would_mean_is_said(arguments: list[str], says: str, caplog: pytest.LogCaptureFixture) -> None:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        _warn(hydra.compose("train", overrides=arguments))
    assert bool(caplog.text) == bool(says)
    assert says in caplog.text
