"""The method in a real Trainer: rates, precision, means and errors, each against its definition."""

from __future__ import annotations

import copy
import csv
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from cam_lightning.contracts import Batch, GroundTruth, Normalization, Spec
from cam_lightning.logger.metrics_file import MetricsFile
from cam_lightning.method.base import log_exactly
from cam_lightning.method.classification import Classification
from cam_lightning.method.schedule import constant, step

SGD = partial(torch.optim.SGD, momentum=0.9)


def method(network: nn.Module, **options: Any) -> Classification:
    options = {"optimizer": SGD, "schedule": constant, "learning_rate": 0.01} | options
    return Classification(network, **options)


def logged(trainer: Any) -> dict[str, float]:
    return {key: value.item() for key, value in trainer.callback_metrics.items()}


# --- input


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ((0.1, 0.2, 0.9), (0.3, 0.6, 1.0)),
    ],
)
@pytest.mark.parametrize("channels_last", [True, False])
def test_pixels_are_normalised_as_torchvision_does(
    network: Any, mean: tuple[float, ...], std: tuple[float, ...], channels_last: bool
) -> None:
    """Every byte value in every channel, so that a swap of channels shows."""
    network.normalization = Normalization(mean, std)
    pixels = torch.arange(256, dtype=torch.uint8)[None, None, :, None].expand(2, 3, 256, 4)
    truth = GroundTruth(*(torch.zeros(2, dtype=torch.int64) for _ in range(4)))
    batch = method(network, channels_last=channels_last).on_after_batch_transfer(
        Batch(pixels, truth, torch.arange(2)), 0
    )
    expected = normalize(pixels.float() / 255, list(mean), list(std))
    torch.testing.assert_close(batch.image_B3HW, expected, rtol=0, atol=1e-6)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.image_B3HW.is_contiguous(memory_format=layout)


# --- optimization


def rates(module: Classification) -> dict[str, tuple[float, float]]:
    """Rate and weight decay of every parameter, as the optimizer has them."""
    optimizer = module.optimizer(module.parameter_groups())
    name_of = {parameter: name for name, parameter in module.network.named_parameters()}
    found: dict[str, tuple[float, float]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert name_of[parameter] not in found
            found[name_of[parameter]] = (group["lr"], group["weight_decay"])
    return found


def test_biases_learn_twice_as_fast_without_decay(network: Any) -> None:
    module = method(network, learning_rate=0.01, weight_decay=5e-4)
    assert rates(module) == {
        "trunk.weight": (0.01, 5e-4),
        "trunk.bias": (0.02, 0.0),
        "classifier.weight": (0.01, 5e-4),
        "classifier.bias": (0.02, 0.0),
    }
    assert len(module.parameter_groups()) == 2


def test_new_layers_learn_at_their_factor_and_only_they(network: Any) -> None:
    """`classifier` is new, `classifier_of_old` is not; a frozen parameter has no rate at all."""
    network.classifier_of_old = nn.Linear(2, 2)
    network.new_layers = ("classifier",)
    network.trunk.weight.requires_grad_(False)
    module = method(network, learning_rate=0.01, new_layer_rate_factor=10.0, bias_rate_factor=3.0)
    expected = {
        "trunk.bias": (0.03, 0.0),
        "classifier.weight": (0.1, 5e-4),
        "classifier.bias": (0.3, 0.0),
        "classifier_of_old.weight": (0.01, 5e-4),
        "classifier_of_old.bias": (0.03, 0.0),
    }
    found = rates(module)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values)


@pytest.mark.parametrize(("reference", "factor"), [(None, 1.0), (10, 1.0), (40, 0.25), (5, 2.0)])
def test_the_rate_scales_linearly_with_the_images_of_a_step(
    network: Any, data: Any, trainer: Any, reference: int | None, factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches of 5, two accumulated: 10 images a step. Biases keep twice the rate."""
    fitting = trainer(max_steps=1, accumulate_grad_batches=2, limit_val_batches=0)
    with caplog.at_level("INFO", "cam_lightning"):
        fitting.fit(method(network, learning_rate=0.01, scale_learning_rate=reference), datamodule=data)
    assert [group["lr"] for group in fitting.optimizers[0].param_groups] == pytest.approx(
        [0.01 * factor, 0.02 * factor]
    )
    (said,) = [record.message for record in caplog.records if record.message.startswith("a step sees")]
    assert said.startswith("a step sees 10 images: 5 at once, 1 process(es), 2 batch(es) accumulated; learning rate ")
    assert f"learning rate {0.01 * factor:g}" in said


def test_compiling_changes_neither_names_nor_numbers(network: Any, data: Any, trainer: Any) -> None:
    """With the compiler told to leave the network as it is, which takes no minutes."""
    plain = copy.deepcopy(network)
    trainer(max_steps=3, limit_val_batches=0).fit(method(plain), datamodule=data)
    names = list(network.state_dict())
    module = method(network, compile=True)
    assert network._compiled_call_impl is not None
    with torch.compiler.set_stance("force_eager"):
        trainer(max_steps=3, limit_val_batches=0).fit(module, datamodule=data)
    assert list(module.network.state_dict()) == names
    for name, value in plain.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_the_optimizer_does_with_these_rates_what_the_definition_says(network: Any, data: Any, trainer: Any) -> None:
    """One step of plain SGD from a known gradient: w - lr·(g + decay·w), b - 2·lr·g."""
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    gradients: dict[str, torch.Tensor] = {}

    class Spy(Classification):
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            gradients.update({name: p.grad.clone() for name, p in self.network.named_parameters()})

    module = Spy(network, optimizer=torch.optim.SGD, schedule=None, learning_rate=0.5, weight_decay=0.1)
    trainer(max_steps=1, limit_val_batches=0).fit(module, datamodule=data)
    for name, parameter in network.named_parameters():
        old, gradient = before[name], gradients[name]
        change = gradient if name.endswith("bias") else gradient + 0.1 * old
        expected = old - (1.0 if name.endswith("bias") else 0.5) * change
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-7)


def test_the_schedule_advances_with_every_step(network: Any, data: Any, trainer: Any) -> None:
    module = method(network, schedule=partial(step, every=3, factor=0.1), learning_rate=0.01)
    fitting = trainer(max_steps=7, limit_val_batches=0)
    fitting.fit(module, datamodule=data)
    assert [group["lr"] for group in fitting.optimizers[0].param_groups] == pytest.approx([1e-4, 2e-4])


def test_dropout_differs_in_every_batch_and_not_between_runs(network: Any, data: Any, trainer: Any) -> None:
    """Also between the batches that are accumulated into one step."""
    module = method(network, seed=3)
    for _ in range(2):
        trainer(max_epochs=2, accumulate_grad_batches=2, limit_val_batches=0).fit(module, datamodule=data)
    first, second = network.seeds[:8], network.seeds[8:]
    assert first == second
    assert len(set(first)) == 8


def test_dropout_does_not_come_again_after_a_million_batches(network: Any, data: Any, trainer: Any) -> None:
    """A CPU's generator takes 32 bits of a seed."""

    class Late(Classification):
        first = 0

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.trainer.fit_loop.epoch_loop.batch_progress.total.ready += self.first
            super().on_train_batch_start(batch, batch_idx)
            self.trainer.fit_loop.epoch_loop.batch_progress.total.ready -= self.first
            drawn.append(torch.rand(4).tolist())

    drawn: list[list[float]] = []
    module = Late(network, optimizer=torch.optim.SGD, schedule=None, learning_rate=0.01)
    for Late.first in (0, 2**20):
        trainer(max_steps=2, limit_val_batches=0).fit(module, datamodule=data)
    assert len({tuple(each) for each in drawn}) == 4


# --- a loss that is not a number


@pytest.mark.parametrize("poisoned_step", [0, 2, 3], ids=["first", "in between", "last of the epoch"])
def test_a_loss_that_is_not_finite_names_the_step_and_the_images(
    network: Any, data: Any, trainer: Any, poisoned_step: int
) -> None:
    network.poison = poisoned_step
    fitting = trainer(max_epochs=1, limit_val_batches=0)
    with pytest.raises(FloatingPointError) as error:
        fitting.fit(method(network), datamodule=data)
    message = str(error.value)
    assert f"the loss is nan at step {poisoned_step}," in message
    batch = list(fitting.train_dataloader.batch_sampler)[poisoned_step]
    ids = [data.examples["train"].ids[key.image] for key in batch]
    assert f"for the images {', '.join(ids)}. " in message
    assert len(network.seeds) <= poisoned_step + 2, "training ends one step later at most"


def test_no_checkpoint_is_written_after_it(network: Any, data: Any, trainer: Any, tmp_path: Path) -> None:
    """Those of the epochs before stay."""
    network.poison = 7
    keep_all = ModelCheckpoint(dirpath=tmp_path / "kept", filename="{epoch}", save_top_k=-1)
    with pytest.raises(FloatingPointError, match="at step 7,"):
        trainer(max_epochs=3, callbacks=[keep_all], enable_checkpointing=True).fit(method(network), datamodule=data)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["epoch=0.ckpt"]
    checkpoint = torch.load(tmp_path / "kept" / "epoch=0.ckpt", weights_only=True)
    assert checkpoint["cam_lightning"] == {}
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


# --- evaluation


def slow_evaluation(network: Any, split: Any) -> tuple[list[float], int, int]:
    """Every image's loss, and how many labels are not first, or not among the best five."""
    losses, wrong1, wrong5 = [], 0, 0
    network.eval()
    for i in range(len(split)):
        image = torch.from_numpy(split.read(i).image_HW3).permute(2, 0, 1).float() / 255
        with torch.no_grad():
            logits = network(normalize(image, *map(list, network.normalization))[None]).logits_BC[0].tolist()
        label = int(split.label_N[i])
        largest = max(logits)
        losses.append(largest - logits[label] + math.log(sum(math.exp(v - largest) for v in logits)))
        rank = sorted(range(len(logits)), key=lambda c: (-logits[c], c)).index(label)
        wrong1, wrong5 = wrong1 + (rank >= 1), wrong5 + (rank >= 5)
    return losses, wrong1, wrong5


@pytest.mark.parametrize("batch_size", [1, 5, 8, 17])
def test_loss_and_errors_are_means_over_images_not_over_batches(
    network: Any, data: Any, trainer: Any, batch_size: int
) -> None:
    """Of 17 images in batches of 8, the last would otherwise weigh as much as eight others."""
    data.batch_size = batch_size
    network.trunk.weight.data *= 30
    testing = trainer()
    testing.test(method(network), datamodule=data, verbose=False)
    losses, wrong1, wrong5 = slow_evaluation(network, data.examples["test"].split)
    results = logged(testing)
    assert results["test/num_images"] == 17
    assert results["test/classification_error/top1"] == wrong1 / 17
    assert results["test/classification_error/top5"] == wrong5 / 17
    assert results["test/loss"] == pytest.approx(sum(losses) / 17, rel=1e-5)
    batch_means = [sum(losses[i : i + 8]) / len(losses[i : i + 8]) for i in range(0, 17, 8)]
    assert results["test/loss"] != pytest.approx(sum(batch_means) / 3, rel=1e-3), "or this shows nothing"


def test_an_image_without_a_finite_answer_ends_the_evaluation(network: Any, data: Any, trainer: Any) -> None:
    class NanForTwo(Classification):
        def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
            batch = super().on_after_batch_transfer(batch, dataloader_idx)
            batch.image_B3HW[(batch.index_B == 6) | (batch.index_B == 9)] = float("nan")
            return batch

    module = NanForTwo(network, optimizer=SGD, schedule=None, learning_rate=0.1)
    with pytest.raises(FloatingPointError, match=r"no finite number for test/6, test/9: its normalised input"):
        trainer().test(module, datamodule=data, verbose=False)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_broken_layer_is_named_with_the_first_images_of_the_split(
    network: Any, data: Any, trainer: Any, split: str
) -> None:
    with torch.no_grad():
        network.trunk.bias[1] = 1e34
        network.classifier.weight[2] *= 1e8
    evaluate = getattr(trainer(), {"val": "validate", "test": "test"}[split])
    with pytest.raises(FloatingPointError) as error:
        evaluate(method(network), datamodule=data, verbose=False)
    ids = data.examples[split].ids
    expected = f"no finite number for {ids[0]}, {ids[1]}, {ids[2]} and 2 more of this batch: the first layer whose "
    assert expected in str(error.value)
    assert "output is not finite is classifier (Linear, values up to 1e+34 at its input)" in str(error.value)
    assert "\n" not in str(error.value)


def test_fit_logs_train_and_validation_of_every_epoch_from_zero(network: Any, data: Any, trainer: Any) -> None:
    """Counts of one epoch, with the sanity check's and the epoch before's left out."""
    fitting = trainer(max_epochs=2, num_sanity_val_steps=2)
    fitting.fit(method(network, learning_rate=0.0), datamodule=data)
    results = logged(fitting)
    losses, wrong1, _ = slow_evaluation(network, data.examples["val"].split)
    assert (results["train/num_images"], results["val/num_images"]) == (20, 12), "4 batches of 5 of 24; all of 12"
    assert results["val/classification_error/top1"] == wrong1 / 12
    assert results["val/loss"] == pytest.approx(sum(losses) / 12, rel=1e-5)
    assert 0 <= results["train/classification_error/top1"] <= 1


def test_an_evaluation_that_was_cut_short_is_not_counted_in_the_next(network: Any, data: Any, trainer: Any) -> None:
    """As after an interruption in a notebook."""
    module = method(network)
    data.setup()
    read = data.examples["test"].split.read

    def fail_at(index: int) -> Any:
        if index == 12:
            raise OSError("unreadable")
        return read(index)

    data.examples["test"].split.read = fail_at
    with pytest.raises(OSError, match="unreadable"):
        trainer().test(module, datamodule=data, verbose=False)
    data.examples["test"].split.read = read
    testing = trainer()
    testing.test(module, datamodule=data, verbose=False)
    assert logged(testing)["test/num_images"] == 17


@pytest.mark.parametrize(
    ("evaluation_precision", "expected"), [("float32", torch.float32), ("trainer", torch.bfloat16)]
)
def test_evaluation_is_in_float32_while_training_is_mixed(
    network: Any, data: Any, trainer: Any, evaluation_precision: str, expected: torch.dtype
) -> None:
    fitting = trainer(precision="bf16-mixed", max_steps=1, limit_val_batches=1)
    module = method(network, evaluation_precision=evaluation_precision)
    fitting.fit(module, datamodule=data)
    fitting.test(module, datamodule=data, verbose=False)
    assert network.computed_in == {"training": {torch.bfloat16}, "evaluation": {expected}}


def test_an_unknown_precision_is_an_error(network: Any) -> None:
    with pytest.raises(ValueError, match="float32 or trainer; got 'bf16'"):
        method(network, evaluation_precision="bf16")


# --- numbers on their way to the files


def test_fractions_reach_the_files_as_float64(network: Any, data: Any, trainer: Any, tmp_path: Path) -> None:
    """Lightning rounds plain numbers to float32, in which 1/3 is 0.3333333432674408."""

    class Third(Classification):
        def on_test_epoch_end(self) -> None:
            values = {"third": 1 / 3, "count": 2**24 + 1}
            log_exactly(self, "test", values, {key: Spec(key) for key in values})

    testing = trainer(logger=MetricsFile(tmp_path))
    module = Third(network, optimizer=SGD, schedule=None, learning_rate=0.1)
    testing.test(module, datamodule=data, verbose=False)
    assert logged(testing) == {"test/third": 1 / 3, "test/count": 2**24 + 1}
    with (tmp_path / "metrics.csv").open(newline="") as file:
        written = {row["key"]: float(row["value"]) for row in csv.DictReader(file)}
    assert written == {"test/third": 1 / 3, "test/count": 2**24 + 1}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_training_loss_is_the_cross_entropy_against_the_smoothed_label(
    network: Any, data: Any, trainer: Any, smoothing: float
) -> None:
    """A share of the label is spread over all classes, its own among them."""
    seen: list[float] = []

    class Spy(Classification):
        def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
            with torch.no_grad():
                surprise_BC = -F.log_softmax(self.network(batch.image_B3HW).logits_BC, dim=1)
            of_label_B = surprise_BC[torch.arange(len(surprise_BC)), batch.truth.label_B]
            expected = ((1 - smoothing) * of_label_B + smoothing * surprise_BC.mean(dim=1)).mean()
            loss = super().training_step(batch, batch_idx)
            assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
            seen.append(loss.item())
            return loss

    fitting = trainer(max_steps=2, limit_val_batches=0)
    module = Spy(network, optimizer=SGD, schedule=None, learning_rate=0.1, label_smoothing=smoothing)
    fitting.fit(module, datamodule=data)
    assert logged(fitting)["train/loss"] == pytest.approx(seen[-1])
    assert len(seen) == 2


def test_the_loss_of_evaluation_is_that_of_the_label_itself(network: Any, data: Any, trainer: Any) -> None:
    losses = []
    for smoothing in (0.0, 0.3):
        testing = trainer()
        testing.test(method(network, label_smoothing=smoothing), datamodule=data, verbose=False)
        losses.append(logged(testing)["test/loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("wrong", [-0.1, 1.0])
def test_a_smoothing_that_leaves_no_label_is_an_error(network: Any, wrong: float) -> None:
    with pytest.raises(ValueError, match="label_smoothing"):
        method(network, label_smoothing=wrong)
