"""A linear classifier fitted to the training images' features, scored on the test images'; of one split or several."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from cam_lightning.classifier.linear import Rows
from cam_lightning.contracts import Results, Spec
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.split import ImageSplit, first_per_class, once_per_image
from cam_lightning.feature.reader import FeatureReader
from cam_lightning.functional.average_precision import average_precision
from cam_lightning.metric.average_precision import AVERAGE_PRECISION
from cam_lightning.metric.class_mean_error import ClassMeanError
from cam_lightning.metric.classification_error import ClassificationError

log = logging.getLogger(__name__)

Classifier = Callable[[np.ndarray, np.ndarray, int], Rows]


class Probed(NamedTuple):
    """What came of one split."""

    rows: Rows
    numbers: dict[str, float]
    """By key below `test/`."""
    specs: dict[str, Spec]
    train_images: tuple[int, int]
    """How many training images the smallest and the largest class has."""


def probed(reader: FeatureReader, data: LocalizationDataModule, classifier: Classifier, normalise: bool) -> Probed:
    """Fits to all training images, none held out, and scores every test image; features of length 1 if `normalise`.

    Images that cannot be read are left out where the dataset skips them. Raises FileNotFoundError where there are no
    training images, and as the dataset, the reader and the classifier do.
    """
    train, test = training_images(data), data.images_of("test").split
    may_skip = data.on_bad_image == "skip"
    features = {}
    for name, split in (("training", train), ("test", test)):
        features_NK = reader.read(split, data.batches_of, name, may_skip)
        features[name] = lengths_one(features_NK) if normalise else features_NK
    readable_N = ~np.isnan(features["training"]).any(axis=1)
    target = train.label_N if train.target_NC is None else train.target_NC
    rows = classifier(features["training"][readable_N], target[readable_N], len(data.class_names))
    numbers, specs = scored(rows.of(features["test"]), test)
    per_class = (
        np.bincount(train.label_N[readable_N], minlength=len(data.class_names))
        if train.target_NC is None
        else np.nansum(train.target_NC[readable_N], axis=0).astype(int)
    )
    return Probed(rows, numbers, specs, (int(per_class.min()), int(per_class.max())))


def training_images(data: LocalizationDataModule) -> ImageSplit:
    """All of a dataset's training images: those too that training a network would hold out for validation."""
    train = data.chosen_splits().train
    if train is None:
        raise FileNotFoundError(f"there are no training images: these data can only be evaluated. {data.SOURCE}")
    train = once_per_image(train)
    return train if data.images_per_class is None else first_per_class(train, data.images_per_class)


def lengths_one(features_NK: np.ndarray) -> np.ndarray:
    """Each row divided by its length, as `ProbeNetwork` does it."""
    return features_NK / np.linalg.norm(features_NK, axis=1, keepdims=True).clip(1e-12)


def scored(scores_NC: np.ndarray, split: ImageSplit) -> tuple[dict[str, float], dict[str, Spec]]:
    """The errors of scores by label, or of several labels the mean average precision; NaN rows are left out."""
    readable_N = ~np.isnan(scores_NC).any(axis=1)
    if split.target_NC is not None:
        target_NC = split.target_NC[readable_N]
        columns = zip(scores_NC[readable_N].T, target_NC.T, strict=True)
        each = [average_precision(score_N, target_N) for score_N, target_N in columns]
        numbers = {"average_precision/mean": float(np.nanmean(each)), "num_images": int(readable_N.sum())}
        return numbers, {
            "num_images": Spec("images", "count", better=None, headline=0),
            "average_precision/mean": AVERAGE_PRECISION,
        }
    numbers = {}
    specs: dict[str, Spec] = {}
    for metric in (ClassificationError(), ClassMeanError(scores_NC.shape[1])):
        metric.update(torch.from_numpy(scores_NC[readable_N]), torch.from_numpy(split.label_N[readable_N]))
        numbers |= metric.compute()
        specs |= metric.specs()
    return numbers, specs


def over_draws(outcomes: Sequence[Probed]) -> tuple[Results, dict[str, Spec]]:
    """Mean and standard deviation (of n − 1) of every number over the splits drawn, by key below `test/`."""
    results: Results = {}
    specs: dict[str, Spec] = {}
    for key, spec in outcomes[0].specs.items():
        if spec.kind == "count":
            continue
        values = [outcome.numbers[key] for outcome in outcomes]
        for name, value in (("mean", statistics.mean(values)), ("deviation", statistics.stdev(values))):
            results[f"{key}/{name}"] = value
            specs[f"{key}/{name}"] = spec._replace(
                title=f"{spec.title}, {name} of {len(values)} splits",
                better=spec.better if name == "mean" else None,
                of=key,
                role="variant",
                label=f"{name} of {len(values)} splits",
                headline=None,
            )
    return results, specs
