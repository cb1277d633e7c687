"""The LightningDataModule that every dataset shares; a dataset's own file gives it splits and names."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from cam_lightning.contracts import Batch
from cam_lightning.dataset.pipeline.chosen_classes import chosen_classes, require_every_class
from cam_lightning.dataset.pipeline.examples import Examples, collate
from cam_lightning.dataset.pipeline.option import seed as check_seed
from cam_lightning.dataset.pipeline.option import share, whole
from cam_lightning.dataset.pipeline.sampler import EvaluationBatches, Key, TrainBatches
from cam_lightning.dataset.pipeline.skipped_images import SkippedImages
from cam_lightning.dataset.pipeline.split import (
    Finding,
    ImageSplit,
    Splits,
    Subset,
    fingerprint,
    first_per_class,
    hold_out,
    keep_classes,
    once_per_image,
    with_every_class,
)
from cam_lightning.dataset.pipeline.transform import Augmentation, View, height_and_width, sizes_by_epoch
from cam_lightning.dataset.pipeline.worker import (
    AHEAD,
    MOST_WORKERS,
    begin_worker,
    bytes_of_batch,
    shared_batch,
    usual_workers,
    workers_with_room,
)

log = logging.getLogger(__name__)


class LocalizationDataModule(LightningDataModule):
    """Batches for training, and for evaluation of every image exactly once.

    Fit validates on the dataset's own `train-fullsup` where it has one, else on `val_fraction` of the training
    images, held out with `seed`; `test` is never seen before the end. Training may see smaller images (`train_size`)
    than evaluation (`image_size`): it is cheaper by the area, and a pooled network takes any size; `[[0, 64], [5, 80]]`
    gives a size from an epoch on, so that the first epochs, which need no detail, are the cheapest. `classes` (names,
    or a number: the first so many) restricts every split; `images_per_class` shortens training alone, so that errors
    stay comparable. `batch_size` is per process. An image that cannot be read ends the run with its path
    (`on_bad_image=error`), or is left out, counted and named (`skip`); training then shows the next readable one in
    its place.

    `train_on=fullsup` trains on `train-fullsup` in place of the training images, `images_per_class` of each class, of
    which `val_fraction` are held out: a method that learns from boxes then sees no more of them than validation of the
    others does. A dataset without `train-fullsup` takes its training images for that.

    `test_every=10` tests every tenth image of the test split, by position, the first one among them: for what is too
    dear for all of them.

    An image that shows several classes, whose boxes are known for each, trains once with all of them, and is evaluated
    once for each of them (`ImageSplit.image_N`); val_fraction, images_per_class and test_every are of images.

    Raises FileNotFoundError or ValueError in `setup`, before any training, when the data are not as expected.
    """

    SOURCE = ""
    """What must be fetched, and from which project, in words for people; empty where nothing is."""
    DRAWN_BY: str | None = None
    """The option that draws another training and test split of the same images; None where these are fixed."""

    def __init__(
        self,
        image_size: int | Sequence[int] = 224,
        train_size: int | Sequence[int] | Sequence[tuple[int, int | Sequence[int]]] | None = None,
        batch_size: int = 32,
        augmentation: Augmentation | None = None,
        val_fraction: float = 0.1,
        classes: int | str | Sequence[str] | None = None,
        images_per_class: int | None = None,
        num_workers: int | None = None,
        seed: int = 0,
        class_index: Any = None,
        on_bad_image: str = "error",
        train_on: str = "weaksup",
        test_every: int = 1,
    ) -> None:
        super().__init__()
        if train_on not in ("weaksup", "fullsup"):
            raise ValueError(f"dataset.train_on is weaksup or fullsup; got {train_on!r}")
        self.train_on = train_on
        if on_bad_image not in ("error", "skip"):
            raise ValueError(f"dataset.on_bad_image is error or skip; got {on_bad_image!r}")
        try:
            self.input_size = height_and_width(image_size)
        except ValueError as error:
            raise ValueError(f"dataset.image_size: {error}") from error
        self.train_sizes = sizes_by_epoch(image_size if train_size is None else train_size)
        self.batch_size = whole("dataset.batch_size", batch_size, 1)
        self.augmentation = augmentation
        self.val_fraction = share("dataset.val_fraction", val_fraction)
        self.classes = classes
        self.images_per_class = (
            None if images_per_class is None else whole("dataset.images_per_class", images_per_class, 1)
        )
        self.test_every = whole("dataset.test_every", test_every, 1)
        self.num_workers = None if num_workers is None else whole("dataset.num_workers", num_workers, 0, MOST_WORKERS)
        self.seed = check_seed("dataset.seed", seed)
        if isinstance(class_index, str) and not Path(class_index).expanduser().is_file():
            raise FileNotFoundError(f"dataset.class_index={class_index} is no file")
        self.class_index = class_index
        self.on_bad_image = on_bad_image
        self.skipped = SkippedImages()
        self._found_room: tuple[int | None, int] | None = None
        """The number of workers asked for, and the number that shared memory has room for."""
        self.class_names: list[str] = []
        """The names that results and `classes` use; WordNet ids where the dataset has them."""
        self.examples: dict[str, Examples] = {}
        self.resumed_at = (0, 0)
        """The (epoch, batch) that training goes on from; set before it starts, because Lightning asks for
        batches (to count them for the schedule) before it has read where it was."""

    @abstractmethod
    def read_splits(self) -> Splits:
        """The names of all classes and the splits; raises FileNotFoundError or ValueError as `setup` does."""

    def chosen_splits(self) -> Splits:
        """What `read_splits` gives and raises, of the chosen `classes` alone; ValueError for one that there is not."""
        names, train, test, fullsup = splits = Splits(*self.read_splits())
        if self.classes is None:
            return splits
        kept = chosen_classes(self.classes, names)
        return Splits(
            [names[i] for i in kept],
            None if train is None else keep_classes(train, kept),
            keep_classes(test, kept),
            None if fullsup is None else keep_classes(fullsup, kept),
        )

    def held_out(self, split: ImageSplit, fraction: float, seed: int) -> tuple[ImageSplit, ImageSplit]:
        """(kept, held out) of a split, for validation, by the rule that the dataset's published numbers have."""
        return hold_out(split, fraction, seed)

    def findings(self) -> list[Finding]:
        """What `read_splits` met that is wrong or worth a remark, for `check_data`."""
        return []

    def display_name(self, class_name: str) -> str:
        """A class's name for people; the class's own where nothing better is known."""
        return class_name

    @property
    def num_classes(self) -> int:
        self.setup()
        return len(self.class_names)

    def setup(self, stage: str | None = None) -> None:
        """Reads the splits once; later calls do nothing."""
        if self.examples:
            return
        names, train, test, fullsup = self.chosen_splits()
        val_entries, test_entries = train if fullsup is None else fullsup, test
        train, fullsup = (None if split is None else once_per_image(split) for split in (train, fullsup))
        test = once_per_image(test)
        if self.train_on == "fullsup":
            train, fullsup = train if fullsup is None else fullsup, None
            if train is not None and self.images_per_class is not None:
                # Those that are held out of them are some of the few.
                train = first_per_class(train, self.images_per_class)
        if train is not None and fullsup is None:
            train, fullsup = self.held_out(train, self.val_fraction, self.seed)
        if train is not None and self.images_per_class is not None:
            train = first_per_class(train, self.images_per_class)
        for split_name, split in (("training", train), ("test", test)):
            if split is not None:
                require_every_class(split, split_name, names)
        if self.test_every > 1:
            test = Subset(test, np.arange(0, len(test), self.test_every))
        test = with_every_class(test_entries, test)
        self.class_names = names
        if train is not None:
            # Ranks that train together need batches of one size; evaluation counts each image for itself.
            on_bad = "replace" if self.on_bad_image == "skip" else "error"
            self.examples["train"] = Examples(train, self.train_sizes, self.augmentation, self.seed, on_bad, names)
        if fullsup is not None:
            assert val_entries is not None
            fullsup = with_every_class(val_entries, fullsup)
            self.examples["val"] = Examples(fullsup, self.input_size, None, self.seed, self.on_bad_image, names)
        self.examples["test"] = Examples(test, self.input_size, None, self.seed, self.on_bad_image, names)
        counts = ", ".join(f"{len(self.images_of(name)):,} {name}" for name in self.examples)
        log.info("data: %d classes; images: %s", len(names), counts)
        if test.image_N is not None:
            counts = ", ".join(f"{len(self.examples[name]):,} {name}" for name in self.examples if name != "train")
            log.info("evaluation counts an image once for each class that it shows: %s", counts)

    def images_of(self, split: str) -> Examples:
        """The examples of a split by its name, with every image once, also where evaluation sees it for each class."""
        examples = self.examples[split]
        if examples.split.image_N is None:
            return examples
        once = once_per_image(examples.split)
        return Examples(once, examples.sizes, None, self.seed, examples.on_bad_image, self.class_names)

    def require_images(self, num_processes: int, *splits: str) -> None:
        """Raises ValueError, before any process waits for another, where one of them would have no image of a split."""
        for split in splits:
            num_images = len(self.examples[split]) if split in self.examples else 0
            if 0 < num_images < num_processes:
                raise ValueError(
                    f"the {split} split has {num_images} images, too few for {num_processes} processes, of which each "
                    "needs one: trainer.devices asks for fewer"
                )

    def fingerprints(self) -> dict[str, dict[str, Any]]:
        """How many images each split has, and what tells whether they are the same ones: what a checkpoint keeps."""
        return {
            name: {"num_images": len(examples), "fingerprint": fingerprint(examples.ids)}
            for name, examples in self.examples.items()
        }

    def train_dataloader(self) -> DataLoader[Any]:
        rank, world_size = self._rank_and_world_size()
        if "train" not in self.examples:
            raise FileNotFoundError(f"there are no training images: these data can only be evaluated. {self.SOURCE}")
        examples = self.examples["train"]
        resumed_at = self.resumed_at
        if resumed_at == (0, 0) and self.trainer is not None:
            # Workers start before Lightning tells the epoch, which is not the first where training resumes.
            resumed_at = (self.trainer.fit_loop.epoch_progress.current.processed, 0)  # type: ignore[attr-defined]
        return self._loader(
            examples, TrainBatches(len(examples), self.batch_size, self.seed, rank, world_size, resumed_at)
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._evaluation_loader("test")

    def batches_of(self, split: ImageSplit) -> DataLoader[Any]:
        """Any split's images, every one once and in its order, as evaluation sees them, on this process alone."""
        examples = Examples(split, self.input_size, None, self.seed, self.on_bad_image)
        return self._loader(examples, EvaluationBatches(len(examples), self.batch_size, 0, 1))

    def whole_training_images(self, mirrored: bool) -> DataLoader[Any]:
        """Every training image, the whole of it, plain or mirrored, with what is known of it; ranks share them.

        All batches have the size of training's: the last one is filled up with the first images.
        """
        rank, world_size = self._rank_and_world_size()
        train = self.examples["train"]
        whole_images = Examples(train.split, train.sizes, partial(_whole_image, mirrored), self.seed)
        size = TrainBatches(len(train), self.batch_size, self.seed, rank, world_size).batch_size
        image_MB = np.arange(-(-len(train) // size) * size).reshape(-1, size) % len(train)
        return self._loader(
            whole_images, [[Key(0, image) for image in batch] for batch in image_MB[rank::world_size].tolist()]
        )

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Notes which images of the batch could not be read."""
        trainer = self.trainer
        if self.on_bad_image == "skip" and trainer is not None and not trainer.sanity_checking:
            split = str(trainer.state.stage.dataloader_prefix)  # type: ignore[union-attr]
            self.skipped.note(split, self.examples[split], batch.skipped_S)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the images skipped so far, on any rank; all of them must call it."""
        return {"skipped": self.skipped.positions()} if self.on_bad_image == "skip" else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.setup()
        self.skipped.remember(state_dict["skipped"], self.examples)

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        examples = self.examples[split]
        if split == "val" and not len(examples):
            raise ValueError(
                "the validation split has no image: of each class one is left for training, and none could be held "
                "out. Add images, or train without validation: trainer.limit_val_batches=0"
            )
        return self._loader(examples, EvaluationBatches(len(examples), self.batch_size, *self._rank_and_world_size()))

    def _loader(self, examples: Examples, batches: Iterable[list[Key]]) -> DataLoader[Any]:
        num_workers = self._num_workers_with_room()
        return DataLoader(
            examples,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=shared_batch if num_workers else collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            prefetch_factor=AHEAD if num_workers else None,
            worker_init_fn=begin_worker if num_workers else None,
        )

    def _rank_and_world_size(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)

    def _num_workers_with_room(self) -> int:
        """As many as shared memory has room for; found once, before any worker has begun to fill it."""
        if self._found_room is None or self._found_room[0] != self.num_workers:
            largest = max(
                bytes_of_batch(min(self.batch_size, len(examples)), list(examples.sizes.values()))
                for examples in self.examples.values()
            )
            processes = self._local_processes()
            wanted = usual_workers(processes) if self.num_workers is None else self.num_workers
            count = workers_with_room(wanted, self.num_workers, largest, processes)
            self._found_room = (self.num_workers, count)
        return self._found_room[1]

    def _local_processes(self) -> int:
        return self.trainer.num_devices if self.trainer is not None else 1


def _whole_image(mirrored: bool, height: int, width: int, random: np.random.Generator) -> View:
    return View(0, 0, width, height, mirrored)
