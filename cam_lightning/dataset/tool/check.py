"""Looks at every image of a dataset before anything is trained on it: files, modes, sizes, boxes, splits."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from cam_lightning.dataset.format.folder_annotations import box_faults
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.image_file import read_header
from cam_lightning.dataset.pipeline.split import Finding, ImageSplit, Splits, images_per_class
from cam_lightning.dataset.pipeline.worker import one_thread

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Goes through something, showing how far: (items, what is done, how many items)."""


class Inspection(NamedTuple):
    """What one image is."""

    image: int
    traits: tuple[str, ...]
    faults: tuple[tuple[str, str], ...]
    """(kind, line) of each thing that is wrong."""
    num_boxes: int
    overhangs: bool
    """Whether a box ends up to a pixel outside the image."""
    digest: int
    """64 bits of the file's hash: equal for equal files."""


class SplitReport(NamedTuple):
    """What one split is."""

    num_images: int
    num_boxes: int
    num_without_box: int
    num_overhanging: int
    num_per_class: dict[str, int]
    traits: dict[str, int]


class Report(NamedTuple):
    """What a dataset is, and all that is wrong with it."""

    dataset: str
    is_deep: bool
    splits: dict[str, SplitReport]
    findings: list[Finding]
    found: Splits | None
    """What was looked at; None where the data cannot be used at all."""

    @property
    def wrong(self) -> list[Finding]:
        """What makes training or evaluation wrong."""
        return [finding for finding in self.findings if finding.is_wrong]


class Inspections(Dataset[Inspection]):
    """The images of a split, looked at one by one; a dataset, so that a data loader's workers share the work."""

    def __init__(self, split: ImageSplit, deep: bool) -> None:
        self.split = split
        self.deep = deep

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Inspection:
        try:
            return inspect(self.split, index, self.deep)
        except OSError as error:
            return Inspection(index, (), (("unreadable", str(error)),), 0, False, 0)


def inspect(split: ImageSplit, index: int, deep: bool) -> Inspection:
    """One image by its header, or with `deep` by its pixels; raises OSError where it cannot be read."""
    encoded = split.encoded(index)
    traits: tuple[str, ...] = ()
    if encoded is None:
        image_HW3, boxes_N4, _ = split.read(index)
        name, size, annotated = split.ids[index], image_HW3.shape[:2], None
        digest = _digest(image_HW3.tobytes())
    else:
        name, data = encoded
        header = read_header(data, name)
        size, traits, digest = header.shown_size(split.exif == "upright"), header.traits, _digest(data)
        boxes_N4, annotated = split.annotation(index)
    faults = [("bad box", f"{name}: {fault}") for fault in box_faults(boxes_N4, size)]
    if annotated not in (None, size):
        turned = ""
        if annotated == size[::-1]:
            turned = " (turned as its EXIF orientation says, which is not applied: dataset.exif=upright applies it)"
        faults.append(
            ("other size", f"{name} is {size[1]}×{size[0]}, its annotation says {annotated[1]}×{annotated[0]}{turned}")
        )
    if deep and encoded is not None and not faults:
        # Masks and whatever else the split reads with the image are looked at too.
        split.read(index)
    overhangs = bool(len(boxes_N4)) and bool(
        boxes_N4.min() < 0 or (boxes_N4[:, 2] > size[1]).any() or (boxes_N4[:, 3] > size[0]).any()
    )
    return Inspection(index, traits, tuple(faults), len(boxes_N4), overhangs, digest)


def check(data: LocalizationDataModule, deep: bool, progress: Progress, num_workers: int | None = None) -> Report:
    """Looks at every image of every split, on all cores. What the data lack is said as they say it themselves."""
    name = type(data).__name__
    try:
        found = data.chosen_splits()
    except (OSError, ValueError) as error:
        source = "" if not data.SOURCE or data.SOURCE in str(error) else f" {data.SOURCE}"
        return Report(name, deep, {}, [*data.findings(), Finding("cannot be used", f"{error}{source}", True)], None)
    findings = list(data.findings())
    reports: dict[str, SplitReport] = {}
    digests: dict[str, np.ndarray] = {}
    splits, class_names = found.parts(), found.names
    known_lines = {finding.what for finding in findings}
    for split_name, split in splits.items():
        inspections = progress(
            _inspections(split, deep, num_workers),
            f"{split_name}: {len(split):,} {'images' if split.image_N is None else 'pairs of image and class'}",
            len(split),
        )
        reports[split_name], digests[split_name], faults = _summary(split, class_names, inspections)
        findings += [finding for finding in faults if finding.what not in known_lines]
        findings += _copies(split_name, split, digests[split_name])
    if "train" not in splits:
        findings.append(Finding("no training images", "the dataset can be evaluated, and not trained on", False))
    findings += _empty_classes(class_names, reports)
    for one, other in combinations(splits, 2):
        findings += _in_both(one, splits[one], digests[one], other, splits[other], digests[other])
    return Report(name, deep, reports, findings, found)


def _inspections(split: ImageSplit, deep: bool, num_workers: int | None) -> Iterable[Inspection]:
    cores = len(os.sched_getaffinity(0)) if num_workers is None else num_workers
    # Starting processes takes longer than looking at a few hundred images.
    loader = DataLoader(
        Inspections(split, deep),
        batch_size=32,
        num_workers=cores if cores > 1 and len(split) > 500 else 0,
        collate_fn=list,
        worker_init_fn=one_thread,
    )
    return (inspection for batch in loader for inspection in batch)


def _summary(
    split: ImageSplit, class_names: list[str], inspections: Iterable[Inspection]
) -> tuple[SplitReport, np.ndarray, list[Finding]]:
    digest_N = np.zeros(len(split), np.uint64)
    num_boxes_N = np.zeros(len(split), np.int64)
    is_readable_N = np.zeros(len(split), np.bool_)
    traits: Counter[str] = Counter()
    num_overhanging = 0
    turned: list[int] = []
    findings = []
    is_first_N = np.ones(len(split), np.bool_)
    if split.image_N is not None:
        is_first_N[1:] = np.diff(split.image_N) != 0
    for inspection in inspections:
        digest_N[inspection.image] = inspection.digest
        num_boxes_N[inspection.image] = inspection.num_boxes
        is_readable_N[inspection.image] = inspection.digest != 0
        traits.update(inspection.traits if is_first_N[inspection.image] else ())
        if split.exif == "auto" and inspection.num_boxes and "EXIF-rotated" in inspection.traits:
            turned.append(inspection.image)
        num_overhanging += inspection.overhangs
        findings += [Finding(kind, line, True) for kind, line in inspection.faults]
    # What an image is called once for each of its classes is one finding, and one image.
    findings = list(dict.fromkeys(findings))
    if turned:
        what = (
            f"{len(turned):,} photos with boxes, such as {split.ids[turned[0]]}, are turned when they are shown "
            "(EXIF): their boxes are taken in the pixels as they are stored. Where they were drawn on the upright "
            "picture, say dataset.exif=upright, else dataset.exif=stored"
        )
        findings.append(Finding("turned photos with boxes", what, False))
    counts = images_per_class(split, len(class_names)).tolist()
    report = SplitReport(
        num_images=int(is_first_N.sum()),
        num_boxes=int(num_boxes_N.sum()),
        num_without_box=int((is_readable_N & (num_boxes_N == 0)).sum()),
        num_overhanging=num_overhanging,
        num_per_class=dict(zip(class_names, counts, strict=True)),
        traits=dict(traits),
    )
    return report, digest_N, findings


def _empty_classes(class_names: list[str], reports: dict[str, SplitReport]) -> list[Finding]:
    lacking = {
        name: [split_name for split_name, report in reports.items() if report.num_per_class[name] == 0]
        for name in class_names
    }
    return [
        Finding("empty class", f"{name} has no image in {', '.join(split_names)}", True)
        for name, split_names in lacking.items()
        if split_names
    ]


def _copies(split_name: str, split: ImageSplit, digest_N: np.ndarray) -> list[Finding]:
    """Files that are there twice in one split: wrong where they have two classes."""
    findings = []
    order = np.argsort(digest_N, kind="stable")
    for first, second in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
        is_one = split.image_N is not None and split.image_N[first] == split.image_N[second]
        if digest_N[first] == digest_N[second] != 0 and not is_one:
            differ = split.label_N[first] != split.label_N[second]
            if split.target_NC is not None:
                differ = not np.array_equal(split.target_NC[first], split.target_NC[second], equal_nan=True)
            what = f"{split_name}: {split.ids[first]} and {split.ids[second]} are the same file"
            findings.append(Finding("copy", what + (" in two classes" if differ else ""), bool(differ)))
    return findings


def _in_both(
    one: str, one_split: ImageSplit, one_N: np.ndarray, other: str, other_split: ImageSplit, other_N: np.ndarray
) -> list[Finding]:
    """Files of one split that are in another too, under the same name or a new one."""
    common, one_index, other_index = np.intersect1d(one_N, other_N, return_indices=True)
    return [
        Finding("in two splits", f"{one_split.ids[i]} of {one} is {other_split.ids[j]} of {other}", True)
        for digest, i, j in zip(common.tolist(), one_index.tolist(), other_index.tolist(), strict=True)
        if digest != 0
    ]


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
