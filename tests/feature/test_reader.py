"""Features of splits: each image once, and other ones where anything that they follow from is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.probe import probe, set_classifier
from cam_lightning.dataset.caltech101 import Caltech101
from cam_lightning.dataset.format.crop import CentredSplit, CroppedSplit
from cam_lightning.dataset.pipeline.split import ImageSplit, Subset
from cam_lightning.feature.fingerprint import image_key, network_fingerprint
from cam_lightning.feature.reader import FeatureReader

SIZE = (64, 96)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of five photos, higher than wide and wider than high."""
    random = np.random.default_rng(0)
    for folder in ("accordion", "Faces"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number in range(1, 6):
            pixels = random.integers(0, 256, (4 + number, 9, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((70, 50 + 10 * number))
            picture.save(tmp_path / "data" / folder / f"image_{number:04d}.jpg")
    return tmp_path / "data"


def data_of(root: Path, **options: Any) -> Caltech101:
    data = Caltech101(root=str(root), train_per_class=3, image_size=SIZE, batch_size=4, num_workers=0, **options)
    data.setup()
    return data


def network_of(seed: int = 0, **options: Any) -> TrunkNetwork:
    torch.manual_seed(seed)
    return googlenet_gap(3, width=0.125, **options).eval()


def reader_of(tmp_path: Path, network: TrunkNetwork | None = None, size: tuple[int, int] = SIZE) -> FeatureReader:
    return FeatureReader(network or network_of(), size, tmp_path / "features", "googlenet_gap")


def by_hand(network: TrunkNetwork, data: Caltech101, split: ImageSplit) -> np.ndarray:
    """One image after the other, through the trunk and a mean."""
    rows = []
    for index in range(len(split)):
        image = next(iter(data.batches_of(Subset(split, np.array([index]))))).image_B3HW
        mean, std = (torch.tensor(value).view(3, 1, 1) for value in network.normalization)
        with torch.no_grad():
            rows.append(network.trunk((image / 255 - mean) / std).mean((2, 3))[0].numpy())
    return np.stack(rows)


def test_features_are_those_of_each_image_by_itself(root: Path, tmp_path: Path) -> None:
    data, network = data_of(root), network_of()
    split = data.chosen_splits().train
    assert split is not None
    found = reader_of(tmp_path, network).read(split, data.batches_of, "training")
    assert found.dtype == np.float32
    assert found == pytest.approx(by_hand(network, data, split), abs=1e-4)
    assert found.std(axis=0).max() > 1e-3


def test_each_image_is_seen_once_whatever_split_it_is_in(root: Path, tmp_path: Path) -> None:
    counts = []
    for seed in (0, 1, 0):
        data = data_of(root, split_seed=seed)
        reader = reader_of(tmp_path)
        for split in (data.chosen_splits().train, data.examples["test"].split):
            assert split is not None
            reader.read(split, data.batches_of, "some")
        counts.append(reader.num_computed)
    assert counts == [10, 0, 0]


def test_what_is_there_is_what_was_computed(root: Path, tmp_path: Path) -> None:
    data = data_of(root)
    split = data.examples["test"].split
    first = reader_of(tmp_path).read(split, data.batches_of, "test")
    again = reader_of(tmp_path)
    assert (again.read(split, data.batches_of, "test") == first).all()
    backwards = Subset(split, np.arange(len(split))[::-1])
    assert (again.read(backwards, data.batches_of, "test") == first[::-1]).all()
    assert again.num_computed == 0


def test_a_run_that_was_cut_off_computes_the_rest(root: Path, tmp_path: Path) -> None:
    data = data_of(root)
    split = data.chosen_splits().train
    assert split is not None
    whole = reader_of(tmp_path / "whole").read(split, data.batches_of, "training")
    reader = reader_of(tmp_path)

    def cut_off(batch: Any) -> np.ndarray:
        if reader.num_computed:
            raise KeyboardInterrupt
        return FeatureReader._features(reader, batch)

    reader._features = cut_off  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        reader.read(split, data.batches_of, "training")
    again = reader_of(tmp_path)
    assert again.read(split, data.batches_of, "training") == pytest.approx(whole, abs=1e-5)
    assert again.num_computed == 2


def test_a_changed_file_has_other_features(root: Path, tmp_path: Path) -> None:
    data = data_of(root)
    split = data.examples["test"].split
    before = reader_of(tmp_path).read(split, data.batches_of, "test")
    Image.new("RGB", (70, 60), (250, 3, 3)).save(root / split.ids[1])
    reader = reader_of(tmp_path)
    after = reader.read(split, data.batches_of, "test")
    assert reader.num_computed == 1
    assert [bool((row == other).all()) for row, other in zip(before, after, strict=True)] == [
        index != 1 for index in range(len(split))
    ]


def test_every_part_of_the_view_counts(root: Path) -> None:
    data = data_of(root)
    split = data.examples["test"].split
    boxes = np.tile(np.array([3, 4, 40, 30], np.float32), (len(split), 1))
    views = [
        (split, SIZE),
        (split, SIZE[::-1]),
        (CentredSplit(split, 0.875), SIZE),
        (CentredSplit(split, 0.75), SIZE),
        (CroppedSplit(split, boxes), SIZE),
        (CroppedSplit(split, boxes + 1), SIZE),
        (Subset(split, np.array([1])), SIZE),
    ]
    keys = [image_key(seen, 0, {"input_size": list(size)}) for seen, size in views]
    assert len(set(keys)) == len(keys)
    assert image_key(Subset(split, np.array([1, 0])), 1, {"input_size": list(SIZE)}) == keys[0]


def test_every_weight_before_the_classifier_counts() -> None:
    network = network_of()
    before = network_fingerprint(network)
    set_classifier(network, torch.randn(9, network.classifier.in_features), torch.zeros(9))
    assert network_fingerprint(network) == before == network_fingerprint(network_of())
    others = [
        network_of(1),
        network_of(stride=8),
        probe(network_of(), "trunk.inception4a"),
        probe(network_of(), "trunk"),
    ]
    changed = network_of()
    with torch.no_grad():
        changed.trunk.get_parameter("conv1.conv.weight").view(-1)[5] += 1e-6
    others.append(changed)
    buffered = network_of()
    buffered.trunk.get_buffer("conv1.bn.running_mean")[0] += 1e-6
    others.append(buffered)
    otherwise = network_of()
    otherwise.normalization = otherwise.normalization._replace(mean=(0.4, 0.5, 0.5))
    others.append(otherwise)
    prints = [network_fingerprint(each) for each in others]
    assert len({before, *prints}) == 1 + len(prints)
    assert network_fingerprint(network_of(), pool="max") != network_fingerprint(network_of(), pool="average")


def test_what_cannot_be_read_is_an_error_or_left_out(root: Path, tmp_path: Path) -> None:
    data = data_of(root)
    split = data.examples["test"].split
    (root / split.ids[2]).write_bytes(b"no photo")
    with pytest.raises(OSError, match="cannot be read as an image"):
        reader_of(tmp_path).read(split, data.batches_of, "test")
    skipping = data_of(root, on_bad_image="skip")
    (root / split.ids[0]).unlink()
    found = reader_of(tmp_path).read(split, skipping.batches_of, "test", may_skip=True)
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True, False]


@pytest.mark.parametrize("may_skip", [False, True])
def test_a_network_that_gives_no_number_is_an_error_and_no_image_left_out(
    root: Path, tmp_path: Path, may_skip: bool
) -> None:
    """NaN stands for an image that cannot be read, which fits and errors leave out without a word."""
    data, network = data_of(root), network_of()
    split = data.chosen_splits().train
    assert split is not None
    with torch.no_grad():
        network.get_submodule("trunk.inception3a.branch1.conv").weight[0, 0] = float("nan")  # type: ignore[index, operator]
    reader = reader_of(tmp_path, network)
    for _ in range(2):
        with pytest.raises(FloatingPointError) as error:
            reader.read(split, data.batches_of, "training", may_skip)
        assert "no finite numbers for 4 of 4 images" in str(error.value)
        assert "trunk.inception3a.branch1.conv.weight has 1 of" in str(error.value)
        assert str(split.ids[0]) in str(error.value)
    assert len(reader.store) == 0
    with reader.store.writing():
        # As a file of an earlier version may have it.
        key = image_key(split, 1, {"input_size": list(SIZE)})
        reader.store.append([key], np.full((1, reader.store.units), np.nan, np.float32))
    with pytest.raises(FloatingPointError, match=f"for 1 of 1 images .{split.ids[1]}"):
        reader.read(Subset(split, np.array([1])), data.batches_of, "training", may_skip)


def test_nothing_of_the_network_changes(root: Path, tmp_path: Path) -> None:
    data, network = data_of(root), network_of()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    reader_of(tmp_path, network).read(data.examples["test"].split, data.batches_of, "test")
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    assert isinstance(network.classifier, nn.Linear)
