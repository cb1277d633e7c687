"""What a trunk's frozen first layers give of each training image, computed once and kept in a file for all epochs."""

from __future__ import annotations

import logging
import math
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import Batch, ClassifierOutput, GroundTruth
from cam_lightning.dataset.pipeline.examples import Example, Examples, collate
from cam_lightning.dataset.pipeline.sampler import Key
from cam_lightning.dataset.pipeline.transform import shows_all
from cam_lightning.run.progress import bar

if TYPE_CHECKING:
    from cam_lightning.method.base import Method

log = logging.getLogger(__name__)

FILE = "frozen_features"
"""In the run's directory, while it trains."""
DRAWS = 16
"""How many views of an augmentation are looked at beforehand; each one is again when it is used."""


class FeatureCache:
    """A file with a row per training image, two where images are mirrored, and how training goes on from there.

    Rows are in the precision that the layers compute in, and are made in batches of training's own size. So where a
    frozen layer's numbers for an image do not depend on the other images of its batch, which is tried on the first
    one and said in the log where it is not so, training is bit for bit that without a cache. Ranks share one file,
    and each computes its part of it. It is removed when training ends, and made anew when a run goes on.

    Raises ValueError where images have not the same view in every epoch, where the network's first layer learns, and
    for networks and methods that read or change more than what those layers give; `fill` does where the disk has no
    room.
    """

    def __init__(self, network: nn.Module, frozen: Sequence[nn.Module], examples: Examples) -> None:
        _require_whole_images(examples)
        self.network: TrunkNetwork = _whose_forward_is_known(network)
        self.count = _frozen_layers(self.network.trunk, frozen)
        """How many of the trunk's layers are kept; None: all that it is."""
        _require_nothing_behind(self.network.trunk, self.count)
        self.examples = examples
        self.known: dict[int, Example] = {}
        """By image: its boxes and its size."""
        self.size = examples.sizes[0]
        self.num_views = 1 if examples.augmentation is None else 2
        self.path = Path()
        self.like = torch.empty(0)
        """On the meta device: shape, strides and precision of what the layers give of a batch."""

    @torch.no_grad()
    def fill(self, method: Method) -> None:
        """Computes the whole file, on all ranks together; raises ValueError and OSError where it has no room."""
        trainer = method.trainer
        if self.examples.has_targets:
            raise ValueError("method.cache_features keeps no masks, and this method learns from them: leave it out")
        self.path = Path(trainer.default_root_dir) / FILE
        if trainer.is_global_zero:
            # What a run that was killed may have left.
            self.path.unlink(missing_ok=True)
            self._finish = weakref.finalize(self, self.path.unlink, missing_ok=True)
        for mirrored in range(self.num_views):
            loader = trainer.datamodule.whole_training_images(bool(mirrored))  # type: ignore[attr-defined]
            what = f"frozen layers: {'mirrored ' if mirrored else ''}training images"
            for batch in bar(loader, what, len(loader)) if trainer.is_global_zero else loader:
                image_B3HW = trainer.strategy.batch_to_device(batch).image_B3HW
                with trainer.precision_plugin.forward_context():
                    given_BKhw = self.network.first_layers(image_B3HW, self.count)
                    if not self.like.is_meta:
                        self._warn_of_company(given_BKhw, self.network.first_layers(image_B3HW.flip(0), self.count))
                if not self.like.is_meta:
                    self._make_room(given_BKhw, method)
                self._write(given_BKhw, batch, mirrored)
        if trainer.world_size > 1:
            # Not before all of them have written theirs.
            of_ranks: list[dict[int, Example]] = [{}] * trainer.world_size
            torch.distributed.all_gather_object(of_ranks, self.known)
            self.known = {image: example for known in of_ranks for image, example in known.items()}

    def remove(self) -> None:
        """Takes the file away, and has images read as before."""
        self.examples.has_pixels = True
        if hasattr(self, "_finish"):
            self._finish()

    def known_batch(self, batch: Batch) -> Batch:
        """A batch of training with what is known of its images, on its device; their pixels are NaN, of their size."""
        device = batch.index_B.device
        truth = collate([self.known[image] for image in batch.index_B.tolist()]).truth
        nothing_B3HW = torch.full((), math.nan, device=device).expand(len(batch.index_B), 3, *self.size)
        return batch._replace(image_B3HW=nothing_B3HW, truth=_to(device, truth))

    def output(self, batch: Batch) -> ClassifierOutput:
        """What the network makes of a batch of training."""
        given_BKhw = torch.empty_strided(
            (len(batch.index_B), *self.like.shape[1:]), self.like.stride(), dtype=self.like.dtype
        )
        with self.path.open("rb") as file:
            for place, row in enumerate(self._rows(batch)):
                file.seek(row * self._row_bytes)
                content = bytearray(file.read(self._row_bytes))
                given_BKhw[place] = torch.frombuffer(content, dtype=self.like.dtype).view(self.like.shape[1:])
        return self.network.forward_behind(given_BKhw.to(batch.index_B.device), self.count)

    def _rows(self, batch: Batch) -> list[int]:
        assert batch.epoch_B is not None
        rows = []
        for epoch, image in zip(batch.epoch_B.tolist(), batch.index_B.tolist(), strict=True):
            height, width = self.known[image].size
            view = self.examples.view(Key(epoch, image), height, width)
            if view is not None and not shows_all(view, height, width):
                raise ValueError(_moves(self.examples))
            rows.append(image + (len(self.examples) if view is not None and view.mirrored else 0))
        return rows

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.like.shape[1:]) * self.like.dtype.itemsize

    def _write(self, given_BKhw: Tensor, batch: Batch, mirrored: int) -> None:
        # Bytes, since NumPy knows no bfloat16.
        content_B = given_BKhw.cpu().contiguous().flatten(1).view(torch.uint8).numpy()
        truth = batch.truth
        # Not through a mapping: where the disk is full, writing to that would end the process without a word.
        with self.path.open("r+b") as file:
            for place, image in enumerate(batch.index_B.tolist()):
                file.seek((image + mirrored * len(self.examples)) * self._row_bytes)
                file.write(content_B[place].tobytes())
                boxes_N4 = truth.boxes_BN4[place, : int(truth.num_boxes_B[place])].numpy()
                height, width = truth.size_B2[place].tolist()
                no_pixels = batch.image_B3HW.new_empty(3, 0, 0)
                classes_C = None if truth.classes_BC is None else truth.classes_BC[place].numpy()
                known = no_pixels, int(truth.label_B[place]), boxes_N4, (height, width), image
                self.known[image] = Example(*known, classes_C=classes_C)

    def _make_room(self, given_BKhw: Tensor, method: Method) -> None:
        """Takes note of what the rows are like, says how large the file becomes, and makes sure that it can."""
        layout = given_BKhw.shape, given_BKhw.stride()
        self.like = torch.empty_strided(*layout, dtype=given_BKhw.dtype, device="meta")
        needed = len(self.examples) * self.num_views * self._row_bytes
        # One answer for all ranks, of before any of them writes.
        free = int(method.trainer.strategy.broadcast(shutil.disk_usage(self.path.parent).free))
        shape = "×".join(map(str, given_BKhw.shape[1:]))
        behind = "the trunk" if self.count is None else list(self.network.trunk._modules)[self.count - 1]
        what = f"{_bytes(needed)} for what {behind} gives of {len(self.examples):,} images"
        what += f"{', plain and mirrored' if self.num_views == 2 else ''}, each {shape} of {given_BKhw.dtype}"
        if needed > free:
            raise ValueError(
                f"method.cache_features needs {what}, and {self.path.parent} has {_bytes(free)} free: make room, "
                "freeze through a layer that gives less, see smaller images, or leave it out"
            )
        log.info("frozen layers: %s, in %s until training ends", what, self.path)
        if method.trainer.is_global_zero:
            self.path.touch()
        method.trainer.strategy.barrier()

    def _warn_of_company(self, given_BKhw: Tensor, reversed_BKhw: Tensor) -> None:
        difference = float((given_BKhw - reversed_BKhw.flip(0)).abs().max())
        if difference > 0:
            log.warning(
                "the frozen layers' numbers for an image depend on its place in the batch here (by up to %.1e): with "
                "method.cache_features training is the one without it up to rounding, not bit for bit",
                difference,
            )


def _require_whole_images(examples: Examples) -> None:
    if len(examples.sizes) > 1:
        raise ValueError(
            "method.cache_features keeps what is seen of an image for all epochs, and dataset.train_size changes with "
            "them: give one size"
        )
    if examples.on_bad_image != "error":
        raise ValueError("method.cache_features reads every image beforehand: dataset.on_bad_image=error")
    for image in range(min(DRAWS, len(examples)) if examples.augmentation is not None else 0):
        view = examples.view(Key(0, image), 97, 131)
        if view is not None and not shows_all(view, 97, 131):
            raise ValueError(_moves(examples))


def _moves(examples: Examples) -> str:
    return (
        "method.cache_features needs the same view of an image in every epoch, and "
        f"{_name(examples.augmentation)} moves it: dataset.augmentation=null shows whole images, "
        "dataset/augmentation=random_crop with dataset.augmentation.crop=256 (its resize) mirrors half of them"
    )


def _whose_forward_is_known(network: nn.Module) -> TrunkNetwork:
    own = ("forward", "forward_features")
    if not isinstance(network, TrunkNetwork) or any(
        getattr(type(network), name) is not getattr(TrunkNetwork, name) for name in own
    ):
        raise ValueError(
            f"method.cache_features goes on behind the frozen layers, and {_name(network)} reads more than what they "
            "give: leave it out"
        )
    return network


def _frozen_layers(trunk: nn.Module, frozen: Sequence[nn.Module]) -> int | None:
    """How many layers of a sequence are frozen from the first on; None: the whole trunk is."""
    resting = {id(part) for layer in frozen for part in layer.modules()}
    if id(trunk) in resting:
        return None
    if not isinstance(trunk, nn.Sequential) or type(trunk).forward is not nn.Sequential.forward:
        raise ValueError(
            "method.cache_features keeps what frozen first layers give, and this trunk is no sequence of layers: "
            "freeze the whole of it (method=frozen)"
        )
    learning = [number for number, layer in enumerate(trunk) if id(layer) not in resting]
    count = learning[0] if learning else len(trunk)
    if count == 0:
        raise ValueError(
            "method.cache_features keeps what the trunk's frozen first layers give, and the very first, "
            f"{next(iter(trunk._modules))}, learns: method.freeze_through=LAYER freezes it and those up to LAYER"
        )
    return count


def _require_nothing_behind(trunk: nn.Module, count: int | None) -> None:
    """Raises ValueError where a method's own layer, as ADL's, hangs behind a layer that is kept."""
    kept = [trunk] if count is None else [*trunk.children()][:count]
    own = [
        hook
        for layer in kept
        for part in layer.modules()
        for hook in part._forward_hooks.values()
        if isinstance(hook, nn.Module)
    ]
    if own:
        raise ValueError(
            f"method.cache_features keeps what frozen layers give, and {_name(own[0])} behind one of them gives "
            "another thing in every step: place it behind layers that learn, or leave it out"
        )


def _name(part: object) -> str:
    return type(part).__name__


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _to(device: torch.device, truth: GroundTruth) -> GroundTruth:
    return GroundTruth(*(each if each is None else each.to(device) for each in truth))  # type: ignore[arg-type]
