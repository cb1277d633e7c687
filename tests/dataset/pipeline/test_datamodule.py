"""What every dataset shares: splits, class choice, and batches that no number of workers changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cam_lightning.contracts import Batch
from cam_lightning.dataset.augmentation.random_crop import RandomCrop
from cam_lightning.dataset.pipeline.examples import Examples
from cam_lightning.dataset.pipeline.sampler import Key, TrainBatches
from cam_lightning.dataset.pipeline.split import Splits
from cam_lightning.dataset.shapes import SceneSplit, Shapes
from cam_lightning.dataset.tiny_imagenet import TinyImageNet


def dataset(**options: Any) -> Shapes:
    common = {"image_size": (20, 28), "batch_size": 8, "num_workers": 0, "augmentation": RandomCrop(32, 24)}
    data = Shapes(**{"num_train": 40, "num_test": 21, "val_fraction": 0.25, **common, **options})
    data.setup()
    return data


def digests(loader: Iterable[Batch]) -> list[tuple[list[int], str]]:
    return [
        (batch.index_B.tolist(), hashlib.sha256(batch.image_B3HW.numpy().tobytes()).hexdigest()) for batch in loader
    ]


def epochs(data: Shapes, wanted: Iterable[int]) -> list[list[tuple[list[int], str]]]:
    loader = data.train_dataloader()
    batches = []
    for epoch in wanted:
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        batches.append(digests(loader))
    return batches


def test_pixels_do_not_depend_on_the_workers() -> None:
    """Workers live on from epoch to epoch, and must not go on with the first one's crops."""
    alone = epochs(dataset(), (0, 1, 2))
    assert [len(batches) for batches in alone] == [3, 3, 3]
    assert len({digest for batches in alone for _, digest in batches}) == 9
    for num_workers in (1, 2):
        data = dataset(num_workers=num_workers)
        assert data.train_dataloader().persistent_workers
        assert epochs(data, (0, 1, 2)) == alone
        assert digests(data.test_dataloader()) == digests(dataset().test_dataloader())


def test_a_worker_that_is_no_fork_gives_the_same(tiny_folder: Path, zipped: Callable[..., Path]) -> None:
    """From Python 3.14 on workers start from a server, and get the split, its archive and the augmentation pickled."""
    pack = {"image_size": (20, 28), "augmentation": RandomCrop(32, 24), "val_fraction": 0.4}
    for data in (dataset(num_workers=1), TinyImageNet(str(zipped(tiny_folder)), num_workers=1, **pack)):
        data.setup()
        loader = data.train_dataloader()
        loader.multiprocessing_context = commands.FORKS
        apart = digests(loader)
        data.num_workers = 0
        assert apart == digests(data.train_dataloader())
        assert apart


def test_a_later_epoch_needs_none_before_it() -> None:
    assert epochs(dataset(), (2,)) == epochs(dataset(), (0, 1, 2))[2:]


def test_the_seed_changes_order_crops_and_what_is_held_out() -> None:
    one, other = dataset(seed=0), dataset(seed=1)
    assert one.examples["val"].ids != other.examples["val"].ids
    assert one.examples["test"].ids == other.examples["test"].ids
    assert digests(one.test_dataloader()) == digests(other.test_dataloader())
    assert epochs(one, (0,)) != epochs(other, (0,))


def test_global_random_state_changes_nothing() -> None:
    torch.manual_seed(1)
    one = epochs(dataset(), (0,))
    torch.manual_seed(2)
    assert epochs(dataset(), (0,)) == one


def test_evaluation_takes_every_image_once_in_order() -> None:
    data = dataset()
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        batches = list(loader)
        indices = [index for batch in batches for index in batch.index_B.tolist()]
        assert indices == list(range(len(data.examples[split])))
        assert len(loader) == len(batches)
    assert batches[-1].image_B3HW.shape == (5, 3, 20, 28)


def test_training_images_may_be_smaller() -> None:
    data = dataset(image_size=28, train_size=[12, 16])
    assert next(iter(data.train_dataloader())).image_B3HW.shape == (8, 3, 12, 16)
    assert next(iter(data.val_dataloader())).image_B3HW.shape == (8, 3, 28, 28)
    assert next(iter(dataset(image_size=28).train_dataloader())).image_B3HW.shape == (8, 3, 28, 28)


def test_training_images_may_grow_with_the_epochs() -> None:
    data = dataset(image_size=28, train_size=[[0, 12], [2, [16, 20]]])
    train = data.examples["train"]
    shapes = [train[epoch, 0].image_3HW.shape[1:] for epoch in range(4)]
    assert shapes == [(12, 12), (12, 12), (16, 20), (16, 20)]
    assert data.examples["val"][0, 0].image_3HW.shape[1:] == (28, 28)


def test_sizes_by_epoch_begin_with_the_first() -> None:
    with pytest.raises(ValueError, match="epoch 0"):
        dataset(train_size=[[1, 12]])


@pytest.mark.parametrize("wrong", [{0: 12, 3: 16}, 0, [], [0, 12, 2], [[0, 12], [2]], [[0, 12], 20], "large"])
def test_a_malformed_training_size_is_shown_the_forms_there_are(wrong: Any) -> None:
    with pytest.raises(ValueError, match="HEIGHT, WIDTH"):
        dataset(train_size=wrong)


def test_training_and_held_out_images_are_disjoint_and_stratified() -> None:
    data = dataset()
    train, val = data.examples["train"], data.examples["val"]
    assert not set(train.ids) & set(val.ids)
    assert len(train) + len(val) == 40
    assert torch.bincount(torch.from_numpy(val.split.label_N)).tolist() == [1] * 10
    assert val.augmentation is None
    assert data.examples["test"].augmentation is None


def test_classes_by_number_and_by_name() -> None:
    names = dataset().class_names
    first = dataset(classes=3)
    assert first.class_names == names[:3]
    assert first.num_classes == 3
    chosen = dataset(classes=[names[7], names[2], names[7]])
    assert chosen.class_names == [names[2], names[7]]
    for split in ("train", "val", "test"):
        examples = chosen.examples[split]
        for index, identity in enumerate(examples.ids):
            position = int(identity.partition("/")[2]) % 10
            assert chosen.class_names[examples.split.label_N[index]] == names[position]
    assert dataset(classes=names[4]).class_names == [names[4]]


def test_images_per_class_shortens_training_alone() -> None:
    """So that errors stay comparable, on the same held-out images."""
    few, all_of_them = dataset(images_per_class=2), dataset()
    assert torch.bincount(torch.from_numpy(few.examples["train"].split.label_N)).tolist() == [2] * 10
    for split in ("val", "test"):
        assert few.examples[split].ids == all_of_them.examples[split].ids
    assert set(few.examples["train"].ids) < set(all_of_them.examples["train"].ids)


def test_every_so_many_images_of_the_test_split_alone() -> None:
    """By position, the first one among them; each as it is among all of them."""
    some, all_of_them = dataset(test_every=2), dataset()
    assert list(some.examples["test"].ids) == list(all_of_them.examples["test"].ids)[::2]
    assert len(some.examples["test"]) == 11
    for split in ("train", "val"):
        assert some.examples[split].ids == all_of_them.examples[split].ids
    for position in (0, 3, 10):
        one, the_same = some.examples["test"][Key(0, position)], all_of_them.examples["test"][Key(0, 2 * position)]
        assert one.image_3HW.equal(the_same.image_3HW)
        assert (one.label, one.image) == (the_same.label, position), "its place is the one in what is tested"


def test_training_on_train_fullsup_sees_so_many_boxes_of_each_class_and_no_more() -> None:
    """Those that are held out for validation are some of them; the training images are left alone."""

    class WithFullsup(Shapes):
        def read_splits(self) -> Splits:
            return super().read_splits()._replace(fullsup=SceneSplit("val", 77, 60))

    options: dict[str, Any] = {"num_train": 40, "num_test": 20, "classes": 3, "num_workers": 0, "val_fraction": 0.2}
    for kind, name in ((WithFullsup, "val"), (Shapes, "train")):
        data = kind(train_on="fullsup", images_per_class=4, **options)
        data.setup()
        for part, count in (("train", 3), ("val", 1)):
            assert np.bincount(data.examples[part].split.label_N).tolist() == [count] * 3
            assert all(image_id.startswith(f"{name}/") for image_id in data.examples[part].ids)
        assert not set(data.examples["train"].ids) & set(data.examples["val"].ids)
    with pytest.raises(ValueError, match="train_on is weaksup or fullsup; got 'boxes'"):
        Shapes(train_on="boxes")


def test_fit_validates_on_the_dataset_s_own_train_fullsup() -> None:
    """All training images are then trained on; classes are chosen there too, images per class are not."""

    class WithFullsup(Shapes):
        def read_splits(self) -> Splits:
            return super().read_splits()._replace(fullsup=SceneSplit("val", 77, 30))

    data = WithFullsup(num_train=40, num_test=20, classes=3, images_per_class=2, num_workers=0)
    data.setup()
    assert [len(data.examples[name]) for name in ("train", "val", "test")] == [6, 9, 6]
    assert data.examples["val"].ids[0] == "val/000000"
    assert {path.partition("/")[0] for path in data.examples["train"].ids} == {"train"}


def test_without_training_images_there_is_only_a_test() -> None:
    class OnlyTest(Shapes):
        def read_splits(self) -> Splits:
            return super().read_splits()._replace(train=None)

    data = OnlyTest(num_train=40, num_test=20, num_workers=0)
    data.setup()
    assert list(data.examples) == ["test"]
    with pytest.raises(FileNotFoundError, match="there are no training images: these data can only be evaluated"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"classes": ["basket", "unicorn", "gryphon"]},
            r"dataset\.classes names 'unicorn', 'gryphon', not a class",
        ),
        (
            {"classes": "unicorn"},
            r"dataset\.classes names 'unicorn', not a class of the dataset\. Its 10 classes: ",
        ),
        ({"classes": 11}, r"dataset\.classes=11, but the dataset has 10 classes"),
        ({"classes": 0}, r"dataset\.classes=0, but the dataset has 10 classes"),
        ({"classes": []}, r"dataset\.classes=\[\] leaves no class"),
        ({"images_per_class": 0}, "images_per_class is a whole number of at least 1; got 0"),
        ({"test_every": 0}, "test_every is a whole number of at least 1; got 0"),
        ({"val_fraction": 0}, r"dataset\.val_fraction lies between 0 and 1; got 0"),
        ({"batch_size": 0}, r"dataset\.batch_size is a whole number of at least 1; got 0"),
    ],
)
def test_what_cannot_be_is_said_in_setup(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        dataset(**options)


def test_setup_reads_once() -> None:
    data = dataset()
    examples = data.examples["train"]
    data.setup("fit")
    assert data.examples["train"] is examples


@pytest.mark.parametrize(
    ("processes", "splits", "says"),
    [
        (10, ("train", "val", "test"), ""),
        (11, ("train", "test"), ""),
        (11, ("train", "val", "test"), "the val split has 10 images, too few for 11 processes"),
        (22, ("test",), "the test split has 21 images, too few for 22 processes"),
        (99, ("train", "test"), "the train split has 30 images, too few for 99 processes"),
    ],
)
def test_every_process_needs_an_image(processes: int, splits: tuple[str, ...], says: str) -> None:
    data = dataset()
    if not says:
        data.require_images(processes, *splits)
        return
    with pytest.raises(ValueError, match=says):
        data.require_images(processes, *splits)


class Watched(LightningModule):
    """Notes what it is given, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch.index_B.tolist()))
        return self.weight.sum()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        assert batch.image_B3HW.dtype == torch.uint8

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder: Path, max_epochs: int, checkpoint: Path | None = None, **options: Any) -> Watched:
    method = Watched()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=max_epochs,
        use_distributed_sampler=False,
        logger=False,
        callbacks=[ModelCheckpoint(folder, save_last=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(method, datamodule=dataset(**options), ckpt_path=checkpoint)
    return method


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_lightning_tells_the_sampler_the_epoch(tmp_path: Path, num_workers: int) -> None:
    """Also with workers that live on, and after resuming from a checkpoint."""
    expected = []
    for epoch in range(3):
        sampler = TrainBatches(30, 8, seed=0)
        sampler.set_epoch(epoch)
        expected += [(epoch, [image for _, image in batch]) for batch in sampler]
    assert fit(tmp_path, 2, num_workers=num_workers).seen == expected[:6]
    assert fit(tmp_path, 3, tmp_path / "last.ckpt", num_workers=num_workers).seen == expected[6:]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("stage", ["val_dataloader", "test_dataloader"])
def test_ranks_share_evaluation_without_padding(stage: str, world_size: int) -> None:
    """As the trainer tells rank and number of ranks; neither 25 test images nor batches of 8 go into 2, 3 or 4."""

    class Rank:
        num_devices = world_size

        def __init__(self, rank: int) -> None:
            self.global_rank = rank
            self.world_size = world_size

    data = dataset(num_test=25)
    indices: list[int] = []
    for rank in range(world_size):
        data.trainer = Rank(rank)  # type: ignore[assignment]
        loader: Callable[[], Iterable[Batch]] = getattr(data, stage)
        indices += [index for batch in loader() for index in batch.index_B.tolist()]
    assert sorted(indices) == list(range(len(data.examples[stage.partition("_")[0]])))


@pytest.mark.parametrize(("batch_size", "world_size"), [(8, 1), (8, 2), (7, 3), (100, 2)])
def test_ranks_share_whole_training_images_in_batches_of_training_s_size(
    batch_size: int, world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, mirrored, sizes = {}, {}, set()
    for rank in range(world_size):
        data = dataset(batch_size=batch_size, train_size=(9, 14))
        monkeypatch.setattr(data, "_rank_and_world_size", lambda rank=rank: (rank, world_size))
        sizes.add(data.train_dataloader().batch_sampler.batch_size)  # type: ignore[union-attr]
        for seen, flips in ((plain, False), (mirrored, True)):
            for batch in data.whole_training_images(flips):
                sizes.add(len(batch.index_B))
                seen |= dict(zip(batch.index_B.tolist(), batch.image_B3HW, strict=True))
    assert len(sizes) == 1
    assert sorted(plain) == sorted(mirrored) == list(range(len(data.examples["train"])))
    whole = Examples(data.examples["train"].split, (9, 14))
    for image in plain:
        assert torch.equal(plain[image], whole[Key(0, image)].image_3HW)
        assert torch.equal(mirrored[image], plain[image].flip(-1))
