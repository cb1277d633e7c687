"""The callback in a real Trainer: every number against a plain loop, and no trace where none may be left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback
from toy_localization import plain_localizer

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import GroundTruth, Localization, NoClassMapError
from cam_lightning.dataset.pipeline.transform import resized_view
from cam_lightning.evaluator.adcc import Adcc
from cam_lightning.evaluator.average_drop import AverageDrop
from cam_lightning.evaluator.deletion_insertion import DeletionInsertion
from cam_lightning.evaluator.randomized_weights import RandomizedWeights
from cam_lightning.evaluator.road import Road
from cam_lightning.localization.localizer import Localizer
from cam_lightning.metric.counter import CounterMetric
from cam_lightning.metric.false_boxes import FalseBoxes
from cam_lightning.metric.gt_known_error import GtKnownError
from cam_lightning.metric.localization_error import LocalizationError
from cam_lightning.metric.max_box_accuracy import MaxBoxAccuracy
from cam_lightning.metric.threshold_curve import ThresholdCurve
from cam_lightning.run.prediction_table import Prediction, write_predictions
from cam_lightning.sink.overlays import Overlays
from cam_lightning.sink.predictions import Predictions

BASELINES = {"whole_image": 1.0, "centre_box": 0.75}


class Recorder:
    """A sink that remembers everything it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.indices: list[int] = []
        self.batches: list[Localization] = []

    def start(self, split: str, source: Any, class_names: Sequence[str], rank: int, world_size: int) -> None:
        self.calls.append(f"start {split} {len(source)}")
        self.indices, self.batches = [], []
        self.class_names = class_names
        assert (rank, world_size) == (0, 1)

    def add(self, localization: Localization, truth: GroundTruth, further: Mapping[str, Localization]) -> None:
        self.indices += localization.index_B.tolist()
        self.batches.append(localization)

    def finish(self) -> None:
        self.calls.append(f"finish {len(self.indices)}")

    def merge(self) -> None:
        self.calls.append("merge")


def localization_callback(network: Any, **options: Any) -> LocalizationCallback:
    metrics = {"localization_error": LocalizationError(), "gt_known_error": GtKnownError()}
    options = {"metrics": metrics, "baselines": BASELINES} | options
    return LocalizationCallback(plain_localizer(network), **options)


def logged(trainer: Any) -> dict[str, float]:
    return {key: value.item() for key, value in trainer.callback_metrics.items()}


def slow_evaluation(data: Any, network: Any, overlap: Any) -> dict[str, float]:
    """Image by image, class by class, unit by unit: pixels → units → logits → maps → boxes → errors."""
    names = ["", *(f"baseline/{name}/" for name in BASELINES)]
    wrong = {name + key: 0 for name in names for key in ("top1", "top5", "gt_known")}
    counted = num_degenerate = wrong_top1 = wrong_top5 = 0
    kernel, offset = network.trunk[0].weight.detach().double(), network.trunk[0].bias.detach().double()
    weight, bias = network.classifier.weight.detach().double(), network.classifier.bias.detach().double()
    split = data.examples["test"].split
    for i in range(len(split)):
        image_HW3, boxes, _ = split.read(i)
        label, (height, width) = int(split.label_N[i]), image_HW3.shape[:2]
        pixels = resized_view(image_HW3, None, (16, 64)).double()
        units = torch.zeros(9, 4, 16, dtype=torch.float64)
        for k in range(9):
            for y in range(4):
                for x in range(16):
                    patch = pixels[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                    units[k, y, x] = max(0.0, float((patch * kernel[k]).sum() + offset[k]))
        maps = [sum(weight[c, k] * units[k] for k in range(9)) for c in range(7)]
        logits = [float(maps[c].mean() + bias[c]) for c in range(7)]
        ranked = sorted(range(7), key=lambda c: (-logits[c], c))[:5]
        wrong_top1 += ranked[0] != label
        wrong_top5 += label not in ranked
        size = torch.tensor([[height, width]])
        guesses = []
        for c in [*ranked, label]:
            proposal = LargestComponent()(maps[c].float()[None, None], size, (16, 64))
            guesses.append(proposal.boxes_BP4[0, 0].tolist())
            num_degenerate += int(proposal.degenerate_BP[0, 0])
        if len(boxes) == 0:
            continue
        counted += 1
        mx, my = width / 8, height / 8
        boxes_of = {
            "": guesses,
            "baseline/whole_image/": [[0, 0, width, height]] * 6,
            "baseline/centre_box/": [[mx, my, width - mx, height - my]] * 6,
        }
        for name, guessed in boxes_of.items():
            right = [any(overlap(guess, box) >= 0.5 for box in boxes.tolist()) for guess in guessed]
            hits = [right[t] and ranked[t] == label for t in range(5)]
            wrong[name + "top1"] += not hits[0]
            wrong[name + "top5"] += not any(hits)
            wrong[name + "gt_known"] += not right[5]
    results = {
        "test/num_images": 20,
        "test/num_with_boxes": counted,
        "test/num_degenerate_maps": num_degenerate,
        "test/classification_error/top1": wrong_top1 / 20,
        "test/classification_error/top5": wrong_top5 / 20,
    }
    for name in names:
        results[f"test/{name}localization_error/top1"] = wrong[name + "top1"] / counted
        results[f"test/{name}localization_error/top5"] = wrong[name + "top5"] / counted
        results[f"test/{name}gt_known_error"] = wrong[name + "gt_known"] / counted
    return results


def test_every_number_equals_a_plain_loop_at_any_batch_size(data: Any, method: Any, trainer: Any, overlap: Any) -> None:
    """To the last bit of float64, baselines included."""
    data.setup()
    expected = slow_evaluation(data, method.network, overlap)
    for batch_size in (1, 6, 20):
        data.batch_size = batch_size
        testing = trainer(localization_callback(method.network))
        testing.test(method, datamodule=data, verbose=False)
        results = logged(testing)
        assert results.pop("test/loss") > 0
        assert results == expected
    # Numbers that say something: neither all right nor all wrong, and the baselines differ.
    assert 0 < expected["test/gt_known_error"] < 1
    assert expected["test/num_degenerate_maps"] > 0
    baselines = {expected[f"test/baseline/{name}/gt_known_error"] for name in BASELINES}
    assert len(baselines) == 2
    assert expected["test/localization_error/top5"] < expected["test/localization_error/top1"] < 1


def test_the_maps_are_those_of_the_ranked_classes_and_of_the_label(data: Any, method: Any, trainer: Any) -> None:
    recorder = Recorder()
    trainer(localization_callback(method.network, sinks={"recorder": recorder})).test(
        method, datamodule=data, verbose=False
    )
    assert recorder.class_names[1] == "CLASS 1, \u0085", "sinks get the names for people"
    network, examples, position = method.network.eval(), data.examples["test"], 0
    for localization in recorder.batches:
        for row in range(len(localization.classes_BT)):
            image = resized_view(examples.split.read(position).image_HW3, None, (16, 64))[None].float()
            with torch.no_grad():
                logits, features, _ = network(image)
            classes = localization.classes_BT[row].tolist()
            wanted = [*classes, int(examples.split.label_N[position])]
            for c, map_hw in zip(wanted, [*localization.map_BThw[row], localization.label_map_Bhw[row]], strict=True):
                slow = sum(network.classifier.weight[c, k].item() * features[0, k] for k in range(9))
                assert torch.equal(map_hw, slow)
            probability = logits.softmax(1)[0, classes]
            torch.testing.assert_close(localization.probability_BT[row], probability, rtol=1e-5, atol=1e-7)
            position += 1
    assert position == 20


class Watch(Callback):
    """Looks on as the last callback: what the sanity check left, and the modes around every evaluation."""

    def __init__(self, localization: LocalizationCallback, run_dir: Path) -> None:
        self.localization = localization
        self.run_dir = run_dir
        self.sanity_batches = self.evaluations = 0

    def modes(self, pl_module: Any) -> list[bool]:
        return [module.training for module in pl_module.network.modules()]

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.sanity_batches += trainer.sanity_checking
        assert not any(self.modes(pl_module))

    def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
        for metric, _ in self.localization._scoring():
            assert all(int(value) == 0 for value in metric.metric_state.values())
        assert not list(self.run_dir.iterdir())
        assert logged(trainer) == {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        # A part that its user keeps in evaluation mode, as batch norm in fine-tuning.
        pl_module.network.trunk[0].eval()
        self.expected = self.modes(pl_module)
        assert len(set(self.expected)) == 2

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        assert self.modes(pl_module) == self.expected

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.evaluations += 1
            self.results = logged(trainer)


def test_fit_with_a_sanity_check_leaves_no_trace(data: Any, method: Any, trainer: Any, tmp_path: Path) -> None:
    """Two epochs, each with a validation: counts are the dataset's, modes are as they were."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    recorder = Recorder()
    sinks = {
        "recorder": recorder,
        "predictions": Predictions(str(run_dir), splits=("val", "test")),
        "overlays": Overlays(str(run_dir), count=3),
    }
    localization = localization_callback(method.network, sinks=sinks)
    watch = Watch(localization, run_dir)
    data.batch_size = 2
    fitting = trainer(localization, watch, max_epochs=2, num_sanity_val_steps=2)
    fitting.fit(method, datamodule=data)
    held_out = len(data.examples["val"])
    assert 4 < held_out < 28
    assert (watch.sanity_batches, watch.evaluations) == (2, 2)
    assert recorder.calls == [f"start val {held_out}", f"finish {held_out}", "merge"] * 2
    assert recorder.indices == list(range(held_out))
    assert watch.results["val/num_images"] == held_out
    keys = ("localization_error/top1", "localization_error/top5", "gt_known_error")
    for key in keys:
        assert 0 <= watch.results[f"val/{key}"] <= 1
        assert all(f"val/baseline/{name}/{key}" in watch.results for name in BASELINES)
    assert sorted(path.name for path in run_dir.iterdir()) == ["overlays", "predictions_val.csv"]
    # Another sample in the second epoch would have left more.
    assert len(list((run_dir / "overlays" / "val").iterdir())) == 3


def test_two_evaluations_in_a_row_are_equal(data: Any, method: Any, trainer: Any) -> None:
    """Nothing of the first is in the second's counters."""
    testing = trainer(localization_callback(method.network))
    results = []
    for _ in range(2):
        testing.test(method, datamodule=data, verbose=False)
        results.append(logged(testing))
    assert results[0] == results[1]


class Failing(LocalizationError):
    """Fails on the batch with the given number."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        self.batch -= 1
        if self.batch == 0:
            raise RuntimeError("this metric failed")
        super().update(localization, truth)


@pytest.mark.parametrize("batch", [1, 4], ids=["first batch", "last batch"])
def test_an_error_beside_the_forward_ends_the_run_and_not_the_next_one(
    data: Any, method: Any, trainer: Any, batch: int
) -> None:
    callback = localization_callback(method.network, metrics={"failing": Failing(batch)}, baselines={})
    with pytest.raises(RuntimeError, match="this metric failed"):
        trainer(callback).test(method, datamodule=data, verbose=False)
    again, fresh = trainer(callback), trainer(localization_callback(method.network, baselines={}))
    for testing in (again, fresh):
        testing.test(method, datamodule=data, verbose=False)
    assert logged(again).items() <= logged(fresh).items()


def test_metrics_that_read_maps_are_not_asked_about_baselines(data: Any, method: Any, trainer: Any) -> None:
    class NeedsMaps(GtKnownError):
        needs_maps = True

    testing = trainer(localization_callback(method.network, metrics={"maps": NeedsMaps()}))
    testing.test(method, datamodule=data, verbose=False)
    assert "test/gt_known_error" in logged(testing)
    assert not any("baseline" in key for key in logged(testing))


def test_a_network_without_a_map_is_an_error_before_any_image(method: Any) -> None:
    method.network.has_map = False
    with pytest.raises(NoClassMapError, match="has no class activation map"):
        localization_callback(method.network).localizer.check((16, 64))


def curve_callback(
    network: Any, run_dir: Path, label_free: float | str | None = None, iou: float = 0.5, **options: Any
) -> LocalizationCallback:
    box = LargestComponent(**options)
    curve = ThresholdCurve(box, interval=0.1, iou_threshold=iou, label_free=label_free)
    metrics = {"curve": curve, "localization_error": LocalizationError()}
    localizer = Localizer(network, {"": ClassActivationMap()}, {"": box})
    return LocalizationCallback(localizer, metrics, run_dir=str(run_dir))


def test_the_threshold_of_the_validation_is_carried_to_the_test(
    data: Any, method: Any, trainer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through a checkpoint's plain state, into another callback of the same rule and data, and not of others."""
    first = curve_callback(method.network, tmp_path)
    validating = trainer(first)
    validating.validate(method, datamodule=data, verbose=False)
    chosen = logged(validating)
    assert not any("selected" in key for key in chosen), "on its own split it would be the oracle"
    state = json.loads(json.dumps(first.state_dict()))
    assert state["thresholds"]["gt_known_error"] == chosen["val/gt_known_error@oracle/threshold"]

    second = curve_callback(method.network, tmp_path)
    second.load_state_dict(state)
    testing = trainer(second)
    testing.test(method, datamodule=data, verbose=False)
    results = logged(testing)
    curves = json.loads((tmp_path / "threshold_curves.json").read_text())
    for key in ("gt_known_error", "localization_error/top1", "localization_error/top5"):
        threshold = chosen[f"val/{key}@oracle/threshold"]
        assert results[f"test/{key}@selected/threshold"] == threshold
        assert results[f"test/{key}@selected"] == curves[key][curves["threshold"].index(threshold)]
    # The run's own threshold, 0.2, is on the curve: one rule, two ways to it.
    assert results["test/localization_error/top1"] == curves["localization_error/top1"][2]
    assert (tmp_path / "threshold_curves_val.json").exists()

    of_others = {**state, "rule": {**state["rule"], "dataset": "Photos"}}
    for other, chosen_for in (
        (curve_callback(method.network, tmp_path, normalise="minmax"), state),
        (second, of_others),
    ):
        caplog.clear()
        other.load_state_dict(chosen_for)
        testing = trainer(other)
        testing.test(method, datamodule=data, verbose=False)
        assert not any("selected" in key for key in logged(testing))
        assert "no @selected threshold" in caplog.text


def test_a_threshold_is_selected_without_any_box_in_one_run(
    data: Any, method: Any, trainer: Any, tmp_path: Path
) -> None:
    """With every box of the validation hidden, and the same as with all of them there."""
    thresholds = []
    for is_hidden in (False, True):
        callback = curve_callback(method.network, tmp_path, label_free=0.75)
        if is_hidden:
            score = callback._score

            def hide(maps: Any, truth: GroundTruth, input_size: Any, score: Any = score) -> Any:
                none = torch.zeros_like(truth.num_boxes_B)
                return score(maps, truth._replace(boxes_BN4=truth.boxes_BN4[:, :0], num_boxes_B=none), input_size)

            callback._score = hide  # type: ignore[method-assign]
            callback.arms[""].metrics.pop("localization_error")
        trainer(callback).validate(method, datamodule=data, verbose=False)
        state = callback.state_dict()["thresholds"]
        thresholds.append({key: value for key, value in state.items() if key.endswith("@label_free")})
        assert ("gt_known_error" in state) == (not is_hidden)
    assert len(thresholds[1]) == 3
    assert thresholds[0] == thresholds[1]

    testing = trainer(second := curve_callback(method.network, tmp_path, label_free=0.75))
    second.load_state_dict(callback.state_dict())
    testing.test(method, datamodule=data, verbose=False)
    results = logged(testing)
    for key in ("gt_known_error", "localization_error/top1", "localization_error/top5"):
        assert results[f"test/{key}@label_free/threshold"] == thresholds[1][f"{key}@label_free"]
        assert results[f"test/{key}@oracle"] <= results[f"test/{key}@label_free"] <= 1
        assert f"test/{key}@selected" not in results


def test_a_threshold_is_not_carried_to_another_overlap_or_other_boxes(
    data: Any, method: Any, trainer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The best for hits at one IoU, or against one kind of boxes, says nothing of what is best for another."""
    first = curve_callback(method.network, tmp_path, label_free=0.75)
    trainer(first).validate(method, datamodule=data, verbose=False)
    state = json.loads(json.dumps(first.state_dict()))
    kept = {"selected", "label_free"}
    earlier = {key: value for key, value in state.items() if key != "chosen_for"}
    for options, carried, expected in (
        ({"label_free": 0.75}, state, kept),
        ({"label_free": 0.6}, state, {"selected"}),
        ({"label_free": 0.75, "iou": 0.3}, state, set()),
        ({"label_free": 0.75, "iou": 0.3}, earlier, kept),
    ):
        caplog.clear()
        second = curve_callback(method.network, tmp_path, **options)
        second.load_state_dict(carried)
        testing = trainer(second)
        testing.test(method, datamodule=data, verbose=False)
        results = logged(testing)
        assert {rule for rule in kept if f"test/gt_known_error@{rule}" in results} == expected
        assert ("test/num_boxed_images_for_selection" in results) == ("selected" in expected)
        assert ("from validation: it was chosen for" in caplog.text) == (expected != kept)


class _Precision(CounterMetric):
    """A map and an evaluator that remember whether the forwards that they would make are in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[bool] = []

    def __call__(self, network: Any, image_B3HW: Any, output: Any, classes_BT: Any) -> Any:
        self.found.append(torch.is_autocast_enabled("cpu"))
        return ClassActivationMap()(network, image_B3HW, output, classes_BT)

    def update(self, *_: Any) -> None:
        self.found.append(torch.is_autocast_enabled("cpu"))

    def compute(self) -> dict[str, float]:
        return {}

    def specs(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(("evaluation_precision", "is_mixed"), [("float32", False), ("trainer", True)])
def test_further_forwards_are_made_as_the_first_one(
    data: Any, method: Any, trainer: Any, evaluation_precision: str, is_mixed: bool
) -> None:
    method.evaluation_precision = evaluation_precision
    cam, evaluator = _Precision(), _Precision()
    localizer = Localizer(method.network, {"": cam}, {"": LargestComponent()})
    callback = LocalizationCallback(localizer, {}, evaluators={"precision": evaluator})
    testing = trainer(callback, precision="bf16-mixed", limit_test_batches=1)
    testing.test(method, datamodule=data, verbose=False)
    assert (cam.found, evaluator.found) == ([is_mixed], [is_mixed])


def test_boxes_of_another_run_that_are_lacking_are_said_before_any_training(
    data: Any, method: Any, trainer: Any, tmp_path: Path
) -> None:
    write_predictions(tmp_path / "predictions_val.csv", [Prediction("x", width=2, height=2, boxes=[[0, 0, 1, 1]])])
    training = trainer(curve_callback(method.network, tmp_path, label_free=str(tmp_path)), max_epochs=1)
    with pytest.raises(ValueError, match="it is of other images than those that are validated here"):
        training.fit(method, datamodule=data)
    assert training.global_step == 0


def test_the_selection_is_in_the_checkpoint(data: Any, method: Any, trainer: Any, tmp_path: Path) -> None:
    callback = curve_callback(method.network, tmp_path)
    fitting = trainer(callback, max_epochs=1, num_sanity_val_steps=1)
    fitting.fit(method, datamodule=data)
    fitting.save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"][callback.state_key]
    assert state == callback.state_dict()
    assert state["thresholds"]["gt_known_error"] == logged(fitting)["val/gt_known_error@oracle/threshold"]
    assert state["rule"] == {
        "dataset": type(data).__name__,
        "num_classes": len(data.class_names),
        "input_size": list(data.input_size),
        "cam": "ClassActivationMap",
        **{key: value for key, value in callback.localizer.box.protocol().items() if key != "threshold"},  # type: ignore[attr-defined]
    }


def test_an_evaluator_that_makes_maps_again_makes_those_of_its_own_arm(data: Any, method: Any, trainer: Any) -> None:
    """The second looks at pixels alone: with random weights it is the same, which the class activation map is not."""

    class Pixels:
        """Looks at the image alone."""

        def __call__(self, network: Any, image_B3HW: Any, output: Any, classes_BT: torch.Tensor) -> torch.Tensor:
            return image_B3HW.mean(1, keepdim=True).expand(-1, classes_BT.shape[1], -1, -1)

    pixels = Pixels()
    localizer = Localizer(method.network, {"": ClassActivationMap(), "pixels": pixels}, {"": LargestComponent()})
    callback = LocalizationCallback(
        localizer, {}, {"pixels": {}}, {"adcc": Adcc(), "random": RandomizedWeights(), "deletion": DeletionInsertion(2)}
    )
    for name, cam in (("", localizer.cam), ("pixels", pixels)):
        assert callback.arms[name].evaluators["adcc"].cam is cam  # type: ignore[attr-defined]
        assert callback.arms[name].evaluators["random"].cam is cam  # type: ignore[attr-defined]
    testing = trainer(callback)
    testing.test(method, datamodule=data, verbose=False)
    found = logged(testing)
    assert found["test/pixels/randomized_weights/rank_correlation"] == pytest.approx(1)
    assert found["test/randomized_weights/rank_correlation"] < 0.9
    assert 0 < found["test/adcc"] < 1
    assert 0 < found["test/pixels/deletion"] <= 1


@pytest.mark.parametrize("of", ["label", "predicted"])
def test_no_number_depends_on_maps_that_it_does_not_read(data: Any, method: Any, trainer: Any, of: str) -> None:
    """The recorder, which does not say what it reads, is given the maps of all ranked classes."""
    found = {}
    for sinks in ({}, {"recorder": Recorder()}):
        evaluators = {
            "adcc": Adcc(of=of), "average_drop": AverageDrop(of=of), "deletion": DeletionInsertion(2, of=of),
            "random": RandomizedWeights(of=of), "road": Road(of=of),
        }  # fmt: skip
        metrics = {"gt_known_error": GtKnownError(), "curve": ThresholdCurve(LargestComponent(), input_size=(16, 64))}
        callback = localization_callback(method.network, metrics=metrics, evaluators=evaluators, sinks=sinks)
        testing = trainer(callback)
        testing.test(method, datamodule=data, verbose=False)
        found[callback.reads] = logged(testing)
    few = found.pop("best" if of == "predicted" else "label")
    # Of maps that are not made, none is counted.
    assert few.pop("test/num_degenerate_maps") < found["ranked"].pop("test/num_degenerate_maps")
    assert few == found["ranked"]
    assert {"test/adcc", "test/road/combined", "test/localization_error/top5@oracle"} <= few.keys()


def test_what_is_not_a_word_for_what_is_read_is_said(method: Any) -> None:
    recorder = Recorder()
    recorder.reads = "top1"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"Recorder\.reads is one of label, best, ranked; got 'top1'"):
        localization_callback(method.network, sinks={"recorder": recorder})


def test_every_key_that_an_evaluation_logs_was_told_beforehand(data: Any, method: Any, trainer: Any) -> None:
    box = LargestComponent()
    metrics = {
        "localization_error": LocalizationError(),
        "gt_known_error": GtKnownError(),
        "threshold_curve": ThresholdCurve(box, input_size=(16, 64), interval=0.1),
        "max_box_accuracy": MaxBoxAccuracy(further_iou_thresholds=[0.3]),
    }
    callback = localization_callback(method.network, metrics=metrics)
    told = {f"val/{key}" for part in (method, callback) for key in part.evaluated_keys()}
    without_boxes = {f"val/{key}" for part in (method, callback) for key in part.evaluated_keys(has_boxes=False)}
    testing = trainer(callback)
    data.setup()
    data.examples["val"] = data.examples["test"]
    testing.validate(method, datamodule=data, verbose=False)
    # Thresholds that a validation chose are told too, for the test that they are carried to.
    carried = {key for key in told if "@selected" in key or "@label_free" in key or key.endswith("_for_selection")}
    assert set(logged(testing)) == told - carried
    assert carried < told
    assert without_boxes < told
    assert {"val/gt_known_error", "val/localization_error/top1@oracle"} <= told - without_boxes
    assert {"val/loss", "val/num_with_boxes", "val/num_degenerate_maps"} <= without_boxes


def test_a_sink_that_cannot_take_the_images_says_so_before_any_is_seen(data: Any, method: Any, trainer: Any) -> None:
    class Picky(Recorder):
        def check(self, split: str, source: Any) -> None:
            self.calls.append(f"check {split} {len(source)}")
            raise ValueError("an id that I cannot write")

    sink = Picky()
    with pytest.raises(ValueError, match="cannot write"):
        trainer(localization_callback(method.network, sinks={"picky": sink})).test(
            method, datamodule=data, verbose=False
        )
    assert sink.calls == ["check test 20"]


def test_a_metric_hears_of_the_classes_before_any_image(data: Any, method: Any, trainer: Any) -> None:
    known = FalseBoxes("class 3, \u0085")
    callback = localization_callback(method.network, metrics={"false_boxes": known})
    data.setup()
    callback.setup(SimpleNamespace(datamodule=data), method, "test")  # type: ignore[arg-type]
    assert known.label == 3
    recorder = Recorder()
    unknown = localization_callback(
        method.network, metrics={"false_boxes": FalseBoxes("klass 3")}, sinks={"recorder": recorder}
    )
    with pytest.raises(ValueError, match=r"negative=klass 3 is none of the dataset's 7 classes; there is: class 3"):
        trainer(unknown).test(method, datamodule=data, verbose=False)
    assert recorder.calls == []
