"""A folder of your own images: class folders or named classes, boxes from VOC XML, COCO JSON, a CSV, or none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cam_lightning.dataset.format.folder_annotations import (
    ImageAnnotation,
    as_array,
    box_faults,
    read_coco,
    read_csv,
    read_voc_folder,
)
from cam_lightning.dataset.format.folder_tree import Endings, ImageEntry, Tree, printable, read_tree
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row
from cam_lightning.dataset.pipeline.split import Finding, ImageSplit, RawImage, Splits, hold_out_by_id
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.dataset.pipeline.strings import PackedStrings

log = logging.getLogger(__name__)

FORMATS = {"voc": "annotations", "coco": "annotations.json", "csv": "annotations.csv", "none": ""}
"""`dataset.format`, and where below the root its annotations are unless `dataset.annotations` says otherwise."""
SPLIT_FOLDERS = ("train", "val", "test")


class Folder(LocalizationDataModule):
    """Images below `root/images` (where that exists; else `root`, or the folder that `images` names).

    Splits: `train/` and `test/` where they exist; `val/` is what fit validates on, or the test split where there is
    no `test/`. Else a share `test_fraction` of every class is held out with `split_seed`, which no other seed
    changes; 1 makes every image a test image, to be evaluated only. An image's class is the folder that it lies in
    below its split; where images lie in no folder, or with `class_from=annotation`, the one class that its annotation
    names. `boxes=own` counts boxes
    that name the image's class or none, `any` every box. Images in the annotations' folder are not found. VOC files
    count pixels from `first_pixel`.

    What is wrong with entries or annotations is all said at once in `setup` (ValueError), before anything is
    trained; with `on_bad_image=skip` it is logged, and the image counts as one that cannot be read. Images of no
    class belong to no split.
    """

    def __init__(
        self,
        root: str,
        images: str | None = None,
        annotations: str | None = None,
        format: str = "none",
        class_from: str = "auto",
        boxes: str = "own",
        first_pixel: int = 0,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        for option, value, choices in (
            ("format", format, tuple(FORMATS)),
            ("class_from", class_from, ("auto", "folder", "annotation")),
            ("boxes", boxes, ("own", "any")),
        ):
            if value not in choices:
                raise ValueError(f"dataset.{option} is one of {', '.join(choices)}; got {value!r}")
        if first_pixel not in (0, 1):
            raise ValueError(f"dataset.first_pixel is 0 or 1; got {first_pixel}")
        if not 0 < test_fraction <= 1:
            raise ValueError(f"dataset.test_fraction lies above 0 and is at most 1; got {test_fraction}")
        self.root = Path(root).expanduser().absolute()
        self.images = self.root / images if images is not None else _default_images(self.root)
        self.annotations = self.root / (FORMATS[format] if annotations is None else annotations)
        self.format = format
        self.class_from = class_from
        self.boxes = boxes
        self.first_pixel = first_pixel
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self._findings: list[Finding] = []

    def findings(self) -> list[Finding]:
        return self._findings

    def held_out(self, split: ImageSplit, fraction: float, seed: int) -> tuple[ImageSplit, ImageSplit]:
        """By each image's id, since files are added to folders: see `hold_out_by_id`."""
        # Other numbers than those that drew the test split: with equal seeds those kept there have only high ones.
        return hold_out_by_id(split, fraction, f"validation {seed}")

    def read_splits(self) -> Splits:
        if not self.images.is_dir():
            raise FileNotFoundError(
                f"dataset.root={self.root}: {self.images} is no folder. Expected class folders of images there, or in "
                "its folders train and test, or images whose annotations name their class (dataset.format)."
            )
        trees = self._trees()
        entries = [entry for tree in trees.values() for entry in tree.images]
        others = [path for tree in trees.values() for path in tree.others if self.images / path != self.annotations]
        self._findings = [Finding("extra file", printable(path), False) for path in others]
        in_folders = any(tree.class_folders for tree in trees.values())
        has_class_folders = self.class_from == "folder" or (self.class_from == "auto" and in_folders)
        labelled = list(self._labelled(entries, has_class_folders))
        # One annotation may be wrong for several images.
        self._findings = list(dict.fromkeys(self._findings))
        if has_class_folders:
            names = sorted({folder for tree in trees.values() for folder in tree.class_folders})
        else:
            names = sorted({image.name for image in labelled})
        self._report()
        if not labelled:
            raise ValueError(f"{self.images} holds no image with a class (looked at {len(entries):,} images)")
        label_of = {name: label for label, name in enumerate(names)}
        parts = {
            split: FolderSplit(self.images, [image for image in labelled if _lies_in(image, split)], label_of)
            for split in trees
        }
        return self._splits(names, parts)

    def _trees(self) -> dict[str, Tree]:
        """The images by split folder; under "" where there is none."""
        leave_out = [] if self.annotations == self.root else [self.annotations]
        found = [split for split in SPLIT_FOLDERS if (self.images / split).is_dir()]
        return {split: read_tree(self.images, split, leave_out) for split in found or [""]}

    def _labelled(self, entries: list[ImageEntry], has_class_folders: bool) -> Iterator[LabelledImage]:
        """The images that have a class; what is wrong with these and the others is noted."""
        annotation_of = self._annotations(entries)
        for index, entry in enumerate(entries):
            annotation = annotation_of.get(index)
            faults = [entry.fault] if entry.fault else []
            if annotation is not None:
                faults += [f"{annotation.place}: {fault}" for fault in annotation.faults]
            elif self.format == "voc" and not entry.path.startswith("train/"):
                faults.append(f"{entry.id} has no annotation in {self.annotations}")
            named = sorted(set(annotation.names)) if annotation is not None else []
            name = entry.class_folder if has_class_folders else (named[0] if len(named) == 1 else "")
            objects = annotation.objects if annotation is not None else []
            if self.boxes == "own" and name and objects:
                own = [each for each in objects if each.name in ("", name)]
                if not own:
                    faults.append(
                        f"{entry.id} is of class {name}, and its boxes name {', '.join(named)} "
                        "(dataset.boxes=any takes them)"
                    )
                objects = own
            if not name and not faults:
                reason = f"its annotation names {', '.join(named)}" if named else "no annotation names one"
                if has_class_folders:
                    reason = "it lies beside the class folders"
                faults.append(f"{entry.id} has no one class: {reason}")
            self._findings += [Finding("wrong", fault, True) for fault in faults]
            if name:
                size = annotation.size if annotation is not None else None
                yield LabelledImage(entry.path, name, as_array(objects), size, next(iter(faults), ""))

    def _annotations(self, entries: list[ImageEntry]) -> dict[int, ImageAnnotation]:
        """Each image's annotation, by its position among `entries`; what fits no image is noted."""
        if self.format == "none":
            return {}
        if self.format != "voc" and not self.annotations.is_file():
            raise FileNotFoundError(f"dataset.annotations={self.annotations} is no file (dataset.format={self.format})")
        if self.format == "voc":
            annotations = read_voc_folder(self.annotations, self.first_pixel)
        else:
            annotations = (read_coco if self.format == "coco" else read_csv)(self.annotations)
        endings = Endings((entry.id for entry in entries), with_suffix=self.format != "voc")
        found: dict[int, ImageAnnotation] = {}
        for annotation in annotations:
            indices = endings.find(annotation.image)
            if not indices:
                self._findings.append(_of_no_image(annotation, self.images))
            elif len(indices) > 1:
                both = " and ".join(entries[index].id for index in indices[:2])
                what = f"{annotation.image} may be {both}: give more of the path, or rename one"
                found |= {index: annotation._replace(names=[], objects=[], faults=[what]) for index in indices}
            elif indices[0] in found:
                again = f"{entries[indices[0]].id} is annotated again in {annotation.place}"
                found[indices[0]].faults.append(again)
            else:
                found[indices[0]] = annotation
        return found

    def _report(self) -> None:
        """Stops for what is wrong, or logs it where bad images are skipped; missing images are no image's fault."""
        wrong = [finding.what for finding in self._findings if finding.kind == "wrong"]
        missing = [finding.what for finding in self._findings if finding.kind == "missing image"]
        if missing:
            log.warning("%d annotated images are not there; the first: %s", len(missing), missing[0])
        if wrong and self.on_bad_image == "error":
            shown = "\n  ".join(wrong[:10]) + (f"\n  … and {len(wrong) - 10:,} more" if len(wrong) > 10 else "")
            raise ValueError(
                f"found wrong in {self.root}: {len(wrong):,}\n  {shown}\nMend them, or leave these images out "
                "with dataset.on_bad_image=skip. python -m cam_lightning.check_data names them all."
            )
        for what in wrong:
            log.warning("%s", what)

    def _splits(self, names: list[str], parts: dict[str, FolderSplit]) -> Splits:
        if "test" in parts:
            return Splits(names, parts.get("train"), parts["test"], parts.get("val"))
        if "val" in parts:
            return Splits(names, parts.get("train"), parts["val"])
        (everything,) = parts.values()
        if self.test_fraction == 1:
            return Splits(names, None, everything)
        train, test = hold_out_by_id(everything, self.test_fraction, self.split_seed)
        log.info(
            "data: %s has no folder test: %g %% of each class, drawn with dataset.split_seed=%d, are the test split",
            self.images,
            100 * self.test_fraction,
            self.split_seed,
        )
        return Splits(names, train, test)


class LabelledImage(NamedTuple):
    """One image with its class."""

    path: str
    name: str
    boxes_N4: np.ndarray
    size: tuple[int, int] | None
    fault: str


class FolderSplit(IndexedSplit):
    """Images of one split, by their paths below a folder."""

    def __init__(self, root: Path, images: list[LabelledImage], label_of: dict[str, int]) -> None:
        rows = (Row(image.path, label_of[image.name], image.boxes_N4, image.size) for image in images)
        super().__init__(Storage(root), Index.pack(rows))
        # Names that are not UTF-8 could not be written into results.
        self.ids = PackedStrings.pack(map(printable, self.index.ids))
        self.faults = {index: image.fault for index, image in enumerate(images) if image.fault}

    def read(self, index: int) -> RawImage:
        raw = super().read(index)
        size, annotated = raw.image_HW3.shape[:2], self.annotation(index).size
        name = self.ids[index]
        if annotated not in (None, size):
            assert annotated is not None
            raise OSError(f"{name} is {size[1]}×{size[0]}, its annotation says {annotated[1]}×{annotated[0]}")
        if faults := box_faults(raw.boxes_N4, size):
            raise OSError(f"{name}: {faults[0]}")
        return raw

    def encoded(self, index: int) -> tuple[str, bytes]:
        if index in self.faults:
            raise OSError(self.faults[index])
        path = self.index.ids[index]
        return printable(self.storage.describe(path)), self.storage.read(path)


def _of_no_image(annotation: ImageAnnotation, images: Path) -> Finding:
    if annotation.faults:
        return Finding("wrong", f"{annotation.place}: {'; '.join(annotation.faults)}", True)
    what = f"{annotation.place}: there is no image {annotation.image} below {images}"
    return Finding("missing image", what, True)


def _default_images(root: Path) -> Path:
    return root / "images" if (root / "images").is_dir() else root


def _lies_in(image: LabelledImage, split: str) -> bool:
    return not split or image.path.startswith(f"{split}/")
