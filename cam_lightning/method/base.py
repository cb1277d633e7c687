"""What every method shares: optimization, evaluation, seeds, logging and checkpoints; a method adds view and loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from cam_lightning.contracts import Batch, ClassifierOutput, GroundTruth, Loss, Spec
from cam_lightning.functional.batch_seed import batch_seed
from cam_lightning.functional.finite_output import require_finite_output
from cam_lightning.functional.network_input import full_float32, normalised
from cam_lightning.method.feature_cache import FeatureCache
from cam_lightning.method.freeze import freeze_layers
from cam_lightning.method.optimization import parameter_groups, rate_factor
from cam_lightning.metric.average_precision import AveragePrecision
from cam_lightning.metric.classification_error import ClassificationError
from cam_lightning.metric.images_with_boxes import ImagesWithBoxes
from cam_lightning.run.earlier import upgraded_state

LOSS = Spec("loss", "number", family="loss")


def log_exactly(module: Method, split: str, values: dict[str, float], specs: dict[str, Spec]) -> None:
    """Logs `<split>/<key>` at the end of an epoch, in float64 (Lightning would round numbers to float32).

    For values computed from synced counters, equal on every rank; `specs` say what each of them is.
    """
    module.specs |= {f"{split}/{key}": _of_split(specs[key], split) for key in values}
    module.log_dict({f"{split}/{key}": torch.tensor(value, dtype=torch.float64) for key, value in values.items()})


def _of_split(spec: Spec, split: str) -> Spec:
    return spec._replace(of=f"{split}/{spec.of}") if spec.of else spec


class Method(LightningModule):
    """Trains a network by one loss on one view of each batch, and evaluates it by its errors.

    A method is a subclass with its own `loss`, and a `view` where it changes what the network sees in training. Its
    network change, if it has one, is a function from network to network, which its yaml names as `network_part`.

    Biases learn at `bias_rate_factor` times the rate, without weight decay, as in the released training
    files; layers that no weights were found for learn at `new_layer_rate_factor` times the rate. `optimizer`
    is called with parameter groups, `schedule` with the optimizer and the number of steps. Evaluation runs
    in float32 whatever `trainer.precision` is, unless `evaluation_precision="trainer"`.

    `scale_learning_rate` is the batch size that `learning_rate` is meant for: the rate is then multiplied by
    the images per step, over all processes and accumulated batches, over that (Goyal et al. 2017, section 2.1).
    `compile` has torch.compile make the network's kernels; checkpoints stay the same. The layers of `freeze`, and the
    first ones up to `freeze_through`, stay as they are: no gradients, in eval mode always (`freeze_layers`).
    `cache_features` computes what the frozen first layers of a trunk give of each image once, and trains from there
    (`FeatureCache`); ValueError before training where views, network or method do not allow it.

    Logs `<split>/classification_error/top1` and `…/top5` (fractions), `<split>/loss` and `<split>/num_images`; of
    evaluations `<split>/num_with_boxes`, of a loss of several terms also `train/loss/<term>`. Of images that show
    several classes at once evaluation logs `<split>/average_precision/mean` as well; a method that learns only one
    class of each is refused them in training.
    """

    learns_several_classes = False
    """Whether the loss reads all classes that an image shows (`GroundTruth.classes_BC`), and not its label alone."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[[Optimizer, int], LRScheduler] | None,
        learning_rate: float,
        weight_decay: float = 5e-4,
        bias_rate_factor: float = 2.0,
        new_layer_rate_factor: float = 1.0,
        channels_last: bool = True,
        evaluation_precision: str = "float32",
        seed: int = 0,
        scale_learning_rate: int | None = None,
        compile: bool = False,
        freeze: Sequence[str] = (),
        freeze_through: str | None = None,
        cache_features: bool = False,
    ) -> None:
        super().__init__()
        if compile and cache_features:
            raise ValueError(
                "method.compile makes one kernel of the network, and method.cache_features cuts it: one of both"
            )
        if evaluation_precision not in ("float32", "trainer"):
            raise ValueError(f"method.evaluation_precision is float32 or trainer; got {evaluation_precision!r}")
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.memory_format)
        self.optimizer = optimizer
        self.schedule = schedule
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.bias_rate_factor = bias_rate_factor
        self.new_layer_rate_factor = new_layer_rate_factor
        self.evaluation_precision = evaluation_precision
        self.seed = seed
        self.scale_learning_rate = scale_learning_rate
        self.frozen = freeze_layers(self.network, freeze, freeze_through)
        self.cache_features = cache_features
        self._cache: FeatureCache | None = None
        if compile:
            # In place: `torch.compile(network)` would rename every parameter in the checkpoints.
            self.network.compile()
        self.description: dict[str, Any] = {}
        """Plain containers that every checkpoint carries: how to build this network again."""
        self.specs: dict[str, Spec] = {}
        """What each number is that was logged so far."""
        self.train_error, self.val_error, self.test_error = (ClassificationError() for _ in range(3))
        # A loss that is not a number must show in the mean: by default it would be left out.
        self.val_loss, self.test_loss = (MeanMetric(nan_strategy="disable") for _ in range(2))
        # One for both: they never run at once.
        self.with_boxes = ImagesWithBoxes()
        self.average_precision: AveragePrecision | None = None
        """Of the evaluation that runs, where its images show several classes."""
        self._unchecked: tuple[Tensor, int, Tensor] | None = None

    # --- what a method says

    def view(self, batch: Batch) -> Batch:
        """What the network sees of a training batch: pixels changed (normalised, on the device), targets mixed."""
        return batch

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        """What is minimised, of the network's output for `view(batch)`."""
        raise NotImplementedError

    def evaluation_loss(self, output: ClassifierOutput, truth: GroundTruth) -> Tensor:
        """What `val` and `test` log the mean of: (B,), of the network's output for images as they are."""
        return F.cross_entropy(output.logits_BC, truth.label_B, reduction="none")

    # --- input

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Normalises uint8 pixels on the device, with the network's own mean and standard deviation."""
        if self._cache is not None and batch.epoch_B is not None:
            return self._cache.known_batch(batch)
        image_B3HW = normalised(batch.image_B3HW, *self.network.normalization)  # type: ignore[misc]
        return batch._replace(image_B3HW=image_B3HW.contiguous(memory_format=self.memory_format))

    # --- training

    def setup(self, stage: str) -> None:
        if stage != "fit" or not self.cache_features:
            return
        for name in ("view", "training_step"):
            if getattr(type(self), name) is not getattr(Method, name):
                raise ValueError(
                    f"method.cache_features keeps what layers give of whole images, and {type(self).__name__} has a "
                    f"{name} of its own: leave it out"
                )
        examples = self.trainer.datamodule.examples["train"]  # type: ignore[attr-defined]
        cache = FeatureCache(self.network, self.frozen, examples)
        # A trial looks whether all works, not at every image.
        if not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._cache = cache
            # Before training starts, since workers that load images do.
            examples.has_pixels = False

    def on_fit_start(self) -> None:
        split = self._split("train")
        if split is not None and split.target_NC is not None and not self.learns_several_classes:
            raise ValueError(
                f"the training images show several classes at once, and {type(self).__name__} would learn one of each: "
                "method=multi_label learns all of them"
            )
        if self._cache is not None:
            self._cache.fill(self)

    def on_fit_end(self) -> None:
        if self._cache is not None:
            self._cache.remove()
            self._cache = None

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for frozen layers, whose statistics and dropout rest."""
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def on_train_epoch_start(self) -> None:
        self.train_error.reset()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # A batch's own randomness (dropout) follows from seed, batch and rank, so resuming is an offset.
        # Batches are counted, not steps: those that share one step must not share their dropout.
        batch_number = self.trainer.fit_loop.total_batch_idx
        torch.manual_seed(batch_seed(self.seed, batch_number, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        batch = self.view(batch)
        cache = None if batch.epoch_B is None else self._cache
        output = self.network(batch.image_B3HW) if cache is None else cache.output(batch)
        loss, parts = self.loss(output, batch)
        self._require_finite_loss()
        self._unchecked = (loss.detach(), self.global_step, batch.index_B)
        self.specs["train/loss"] = LOSS
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=False)
        for name, part in parts.items():
            self.specs[f"train/loss/{name}"] = LOSS._replace(title=f"loss, {name.replace('_', ' ')}")
            self.log(f"train/loss/{name}", part.detach(), on_step=True, on_epoch=False)
        self.train_error.update(output.logits_BC, batch.truth.label_B)
        return loss

    def on_train_epoch_end(self) -> None:
        self._require_finite_loss()
        self._log("train", self.train_error)

    def _require_finite_loss(self) -> None:
        """Looks at the loss of the step before: by now it is computed, so reading it stalls no device."""
        if self._unchecked is None:
            return
        (loss, step, index_B), self._unchecked = self._unchecked, None
        if torch.isfinite(loss):
            return
        examples = getattr(getattr(self.trainer, "datamodule", None), "examples", {})
        ids = [examples["train"].ids[i] if "train" in examples else str(i) for i in index_B.tolist()]
        raise FloatingPointError(
            f"the loss is {loss.item()} at step {step}, for the images {', '.join(ids)}. "
            f"Lower method.learning_rate (now {self.learning_rate:g}), or clip with "
            "trainer.gradient_clip_val=1; checkpoints written so far are kept."
        )

    # --- evaluation

    def on_validation_start(self) -> None:
        # Of a training that has failed, the loss says more than what its weights make of validation images.
        self._require_finite_loss()
        self._start_evaluation("val", self.val_error, self.val_loss)

    def on_test_start(self) -> None:
        self._start_evaluation("test", self.test_error, self.test_loss)

    def validation_step(self, batch: Batch, batch_idx: int) -> ClassifierOutput | None:  # type: ignore[override]
        return self._evaluate(batch, self.val_error, self.val_loss)

    def test_step(self, batch: Batch, batch_idx: int) -> ClassifierOutput | None:  # type: ignore[override]
        return self._evaluate(batch, self.test_error, self.test_loss)

    def on_validation_epoch_end(self) -> None:
        self._log("val", self.val_error, self.val_loss)

    def on_test_epoch_end(self) -> None:
        self._log("test", self.test_error, self.test_loss)

    def evaluated_keys(self, has_boxes: bool = True) -> set[str]:
        """What every evaluation logs below its split's name, whether or not there are true boxes."""
        precision = self._average_precision("val")
        return {
            "loss",
            *self.val_error.specs(),
            *self.with_boxes.specs(),
            *(() if precision is None else precision.specs()),
        }

    def _average_precision(self, split: str) -> AveragePrecision | None:
        """Counts a split whose images show several classes; None for any other."""
        images = self._split(split)
        if images is None or images.target_NC is None:
            return None
        return AveragePrecision(images.target_NC, images.image_N)

    def _split(self, name: str) -> Any:
        """One of the data's splits; None where they have none of that name, or there are no data."""
        examples = getattr(getattr(self._trainer, "datamodule", None), "examples", {})
        return getattr(examples[name], "split", None) if name in examples else None

    def _start_evaluation(self, split: str, error: ClassificationError, loss: MeanMetric) -> None:
        # Not after the one before, which an error or its user may have cut short.
        for counted in (error, loss, self.with_boxes):
            counted.reset()
        precision = self._average_precision(split)
        self.average_precision = None if precision is None else precision.to(self.device)
        self._share_buffers()

    def _evaluate(self, batch: Batch, error: ClassificationError, loss: MeanMetric) -> ClassifierOutput | None:
        if len(batch.index_B) == 0:
            # None of the batch's images could be read, and layers need not know what to do with nothing.
            return None
        with self.evaluating():
            output = self.network(batch.image_B3HW)
            require_finite_output(self.network, batch.image_B3HW, output.logits_BC, lambda row: self._id(batch, row))
        error.update(output.logits_BC, batch.truth.label_B)
        self.with_boxes.update(batch.truth.num_boxes_B)
        loss.update(self.evaluation_loss(output, batch.truth))
        if self.average_precision is not None:
            self.average_precision.update(output.logits_BC, batch.index_B)
        return output

    def _id(self, batch: Batch, row: int) -> str:
        """What the image in a row of an evaluation's batch is called."""
        examples = getattr(getattr(self.trainer, "datamodule", None), "examples", {})
        split = "test" if self.trainer.testing else "val"
        index = int(batch.index_B[row])
        return str(examples[split].ids[index]) if split in examples else f"image {index}"

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The precision in which evaluation computes, also in hooks, around which the trainer sets none."""
        if self.evaluation_precision == "trainer":
            with self.trainer.precision_plugin.forward_context():
                yield
            return
        with full_float32(self.device.type):
            yield

    def _share_buffers(self) -> None:
        """Every rank evaluates with rank zero's running statistics: those that the checkpoint holds.

        DistributedDataParallel would copy them at every forward, which hangs where ranks have different
        numbers of batches; so that is switched off (`trainer` configs) and done here, once.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def _log(self, split: str, error: ClassificationError, loss: MeanMetric | None = None) -> None:
        if self.trainer.sanity_checking:
            return
        values, specs = error.compute(), error.specs()
        if loss is not None:
            values |= self.with_boxes.compute() | {"loss": float(loss.compute())}
            specs |= self.with_boxes.specs() | {"loss": LOSS}
            if self.average_precision is not None:
                values |= self.average_precision.compute()
                specs |= self.average_precision.specs()
                if self._split(split).image_N is not None:
                    specs["num_images"] = specs["num_images"]._replace(title="pairs of image and class")
        log_exactly(self, split, values, specs)

    # --- optimization

    def configure_optimizers(self) -> Any:
        groups = self.parameter_groups()
        factor = rate_factor(self.trainer, self.learning_rate, self.scale_learning_rate)
        for group in groups:
            group["lr"] *= factor
        optimizer = self.optimizer(groups)
        if self.schedule is None:
            return {"optimizer": optimizer}
        schedule = self.schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimizer is called with."""
        return parameter_groups(
            self.network, self.learning_rate, self.weight_decay, self.bias_rate_factor, self.new_layer_rate_factor
        )

    # --- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._require_finite_loss()
        checkpoint["cam_lightning"] = self.description
        # Inside an epoch: counts so far, of all ranks together.
        checkpoint["train_error"] = {
            name: int(self.trainer.strategy.reduce(count.clone(), reduce_op="sum"))
            for name, count in self.train_error.counters().items()
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = upgraded_state(checkpoint["state_dict"])
        if self.trainer.is_global_zero:
            self.train_error.reset()
            for name, count in checkpoint.get("train_error", {}).items():
                self.train_error.add(name, count)
            # Without an update, torchmetrics would warn that nothing was counted.
            self.train_error._update_count = 1
