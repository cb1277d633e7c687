"""A folder of your own images: class folders or named classes, boxes from VOC XML, COCO JSON, a CSV, or none."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cam_lightning.dataset.format.annotated_image import annotations_of
from cam_lightning.dataset.format.box_table import read_csv
from cam_lightning.dataset.format.coco import read_coco
from cam_lightning.dataset.format.folder_annotations import (
    UNITS,
    ImageAnnotation,
    as_array,
    read_voc_folder,
    require_pixels,
)
from cam_lightning.dataset.format.folder_layout import (
    SPLITS,
    Layout,
    find_layout,
    named_in,
    no_image,
    pictures_beside_xml,
    require_classes,
)
from cam_lightning.dataset.format.folder_split import EXIF, FolderSplit, LabelledImage, turned_photos
from cam_lightning.dataset.format.folder_tree import UNREAD, ImageEntry, Tree, printable, read_tree
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.option import path_text, seed, share
from cam_lightning.dataset.pipeline.split import Finding, ImageSplit, Splits, hold_out_by_id

log = logging.getLogger(__name__)

FORMATS = {"voc": "annotations", "coco": "annotations.json", "csv": "annotations.csv", "none": ""}
"""`dataset.format`, and where below the root its annotations are unless `dataset.annotations` says otherwise."""


class Folder(LocalizationDataModule):
    """Images below `root/images` (where that exists; else `root`, or the folder that `images` names).

    Splits: `train/` and `test/` where they exist, `Training`, `train2017`, `valid` and the like included; `val/` is
    what fit validates on, or the test split where there is no `test/`. `splits` names other folders (`{train: a,
    test: b}`), or says with `none` that every folder is a class. Without such folders a share `test_fraction` of
    every class is held out with `split_seed`, which no other seed changes, by each image's own path; 1 makes every
    image a test image, to be evaluated only. An image's class is the folder that it lies in below its split; where
    images lie in no folder, or with `class_from=annotation`, the one class that its annotation names.

    `boxes=own` counts boxes that name the image's class or none, `any` every box. `box_unit` says whether they are
    pixels or shares of the image's sides (`fraction`); `auto` takes pixels, and refuses what looks like shares. VOC
    files count pixels from `first_pixel`. Boxes are in the pixels that the files store, or with `exif=upright` in
    those of the photo turned as its EXIF orientation says, which is then what the network sees; `auto` is `stored`,
    with a warning where photos with boxes are turned. Images in the annotations' folder are not found, but for XML
    beside pictures.

    What is wrong with entries or annotations is all said at once in `setup` (ValueError), before anything is
    trained; with `on_bad_image=skip` it is logged, and the image counts as one that cannot be read. Images of no
    class belong to no split.
    """

    DRAWN_BY = "split_seed"

    def __init__(
        self,
        root: str,
        images: str | None = None,
        annotations: str | None = None,
        format: str = "none",
        splits: str | Mapping[str, str] = "auto",
        class_from: str = "auto",
        boxes: str = "own",
        box_unit: str = "auto",
        first_pixel: int = 0,
        exif: str = "auto",
        test_fraction: float = 0.2,
        split_seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        for option, value, choices in (
            ("format", format, tuple(FORMATS)),
            ("class_from", class_from, ("auto", "folder", "annotation")),
            ("boxes", boxes, ("own", "any")),
            ("box_unit", box_unit, UNITS),
            ("exif", exif, EXIF),
        ):
            if value not in choices:
                raise ValueError(f"dataset.{option} is one of {', '.join(choices)}; got {value!r}")
        if splits not in ("auto", "none") and not (isinstance(splits, Mapping) and splits and set(splits) <= {*SPLITS}):
            raise ValueError(f"dataset.splits is auto, none, or {{train: FOLDER, test: FOLDER}}; got {splits!r}")
        if first_pixel not in (0, 1):
            raise ValueError(f"dataset.first_pixel is 0 or 1; got {first_pixel}")
        self.root = Path(path_text("dataset.root", root)).expanduser().absolute()
        self.images_option = None if images is None else path_text("dataset.images", images)
        self.annotations_option = None if annotations is None else path_text("dataset.annotations", annotations)
        self.format = format
        if isinstance(splits, Mapping):
            splits = {split: path_text(f"dataset.splits.{split}", name) for split, name in splits.items()}
        self.splits = splits
        self.class_from = class_from
        self.boxes = boxes
        self.box_unit = box_unit
        self.first_pixel = first_pixel
        self.exif = exif
        self.test_fraction = share("dataset.test_fraction", test_fraction, up_to_one=True)
        self.split_seed = seed("dataset.split_seed", split_seed)
        self._findings: list[Finding] = []

    def findings(self) -> list[Finding]:
        return self._findings

    def held_out(self, split: ImageSplit, fraction: float, seed: int) -> tuple[ImageSplit, ImageSplit]:
        """By each image's id, since files are added to folders: see `hold_out_by_id`."""
        # Other numbers than those that drew the test split: with equal seeds those kept there have only high ones.
        return hold_out_by_id(split, fraction, f"validation {seed}")

    def read_splits(self) -> Splits:
        self._findings = []
        layout, leave_out = self._layout()
        trees = {split: read_tree(layout.images, name, leave_out) for split, name in layout.split_folders.items()}
        entries = [entry for tree in trees.values() for entry in tree.images]
        self._note_what_is_left_out(layout, trees)
        folders = {folder for tree in trees.values() for folder in tree.class_folders}
        in_folders = self.class_from == "folder" or (self.class_from == "auto" and bool(folders))
        if in_folders and self.class_from == "auto" and self.splits != "none":
            require_classes(layout, entries)
        labelled = list(self._labelled(layout, entries, folders if in_folders else None))
        names = sorted(folders if in_folders else {image.name for image in labelled})
        # One annotation may be wrong for several images.
        self._findings = list(dict.fromkeys(self._findings))
        self._report()
        if not labelled:
            raise ValueError(no_image(layout, len(entries), trees.values()))
        label_of = {name: label for label, name in enumerate(names)}
        parts = {
            split: FolderSplit(
                layout.images,
                [image for image in labelled if not name or image.path.startswith(f"{name}/")],
                label_of,
                self.box_unit,
                self.exif,
            )
            for split, name in layout.split_folders.items()
        }
        self._tell_of_boxes(parts)
        return self._splits(names, parts)

    def _layout(self) -> tuple[Layout, list[Path]]:
        """What the folders are for, and which are not searched; sets `images` and `annotations`."""
        given, name = self.annotations_option, FORMATS[self.format]
        self.annotations = self.root / given if given is not None else named_in(self.root, name)
        leave_out = [self.annotations] if self.annotations.is_dir() else []
        if self.root.is_relative_to(self.annotations) or pictures_beside_xml(self.annotations):
            leave_out = []
        are_named = self.format != "none" and self.class_from != "folder"
        layout = find_layout(self.root, self.images_option, self.splits, leave_out, are_named)
        self.images = layout.images
        if (
            self.format == "voc"
            and given is None
            and not self.annotations.is_dir()
            and pictures_beside_xml(self.images)
        ):
            self.annotations = self.images
        return layout, leave_out

    def _note_what_is_left_out(self, layout: Layout, trees: dict[str, Tree]) -> None:
        """Every file that is not read, by name and reason; those that look like photos are also told in the log."""
        for tree in trees.values():
            others = [path for path in tree.others if not self._is_annotation(path)]
            self._findings += [Finding("extra file", printable(path), False) for path in others]
            self._findings += [Finding("left out", f"{printable(path)}: {why}", False) for why, path in tree.left_out]
            unread = [printable(path) for why, path in tree.left_out if why == UNREAD]
            nameless = [printable(path) for path in others if not Path(path).suffix]
            for paths, why in ((unread, UNREAD), (nameless, "their names have no ending that says what they are")):
                if paths:
                    log.warning("%d files are left out (%s), such as %s", len(paths), why, paths[0])
        for name in layout.ignored:
            count = len(read_tree(layout.images, name).images)
            splits = ", ".join(layout.split_folders.values())
            what = f"{count:,} images in {name}: it is beside the splits {splits}, and in none (dataset.splits)"
            self._findings.append(Finding("left out", what, False))
            log.warning("left out: %s", what)

    def _is_annotation(self, path: str) -> bool:
        """Whether a file below `images` is one that annotations are read from."""
        file = self.images / path
        is_xml = self.format == "voc" and path.lower().endswith(".xml") and file.is_relative_to(self.annotations)
        return is_xml or file == self.annotations

    def _labelled(
        self, layout: Layout, entries: list[ImageEntry], class_folders: set[str] | None
    ) -> Iterator[LabelledImage]:
        """The images that have a class; what is wrong with these and the others is noted.

        The class is by the folder where `class_folders` are given, else by the annotation.
        """
        annotation_of = self._annotations(entries, class_folders)
        has_train = "train" in layout.split_folders
        for index, entry in enumerate(entries):
            annotation = annotation_of.get(index)
            faults = [entry.fault] if entry.fault else []
            if annotation is not None:
                faults += [f"{annotation.place}: {fault}" for fault in annotation.faults]
            elif self.format == "voc" and not (
                has_train and entry.path.startswith(f"{layout.split_folders['train']}/")
            ):
                faults.append(f"{entry.id} has no annotation in {self.annotations}")
            named = sorted(set(annotation.names)) if annotation is not None else []
            name = entry.class_folder if class_folders is not None else (named[0] if len(named) == 1 else "")
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
                if class_folders is not None:
                    reason = "it lies beside the class folders"
                faults.append(f"{entry.id} has no one class: {reason}")
            self._findings += [Finding("wrong", fault, True) for fault in faults]
            if name:
                size = annotation.size if annotation is not None else None
                yield LabelledImage(entry.path, name, as_array(objects), size, next(iter(faults), ""))

    def _annotations(self, entries: list[ImageEntry], class_folders: set[str] | None) -> dict[int, ImageAnnotation]:
        """Each image's annotation, by its position among `entries`; what fits no image is noted."""
        if self.format == "none":
            return {}
        if self.format != "voc" and not self.annotations.is_file():
            raise FileNotFoundError(f"dataset.annotations={self.annotations} is no file (dataset.format={self.format})")
        if self.format == "voc":
            annotations = list(read_voc_folder(self.annotations, self.first_pixel, self.box_unit))
        elif self.format == "coco":
            annotations = list(read_coco(self.annotations, self.box_unit))
        else:
            annotations = list(read_csv(self.annotations, self.box_unit, class_folders or ()))
        if self.box_unit == "auto":
            tiny = require_pixels(annotations, self.annotations)
            self._findings += [Finding("within one pixel", line, False) for line in tiny]
            if tiny:
                log.warning("%d boxes lie within one pixel (dataset.box_unit): %s", len(tiny), tiny[0])
        found, findings = annotations_of(entries, annotations, self.annotations, self.images, self.format != "voc")
        self._findings += findings
        return found

    def _report(self) -> None:
        """Stops for what is wrong, or logs it where bad images are skipped."""
        wrong = [finding.what for finding in self._findings if finding.is_wrong]
        if wrong and self.on_bad_image == "error":
            shown = "\n  ".join(wrong[:10]) + (f"\n  … and {len(wrong) - 10:,} more" if len(wrong) > 10 else "")
            raise ValueError(
                f"found wrong in {self.root}: {len(wrong):,}\n  {shown}\nMend them, or leave these images out "
                "with dataset.on_bad_image=skip. python -m cam_lightning.check_data names them all."
            )
        for what in wrong[:10]:
            log.warning("%s", what)
        if len(wrong) > 10:
            log.warning("… and %s more; python -m cam_lightning.check_data names them all", f"{len(wrong) - 10:,}")

    def _tell_of_boxes(self, parts: dict[str, FolderSplit]) -> None:
        """How many images have boxes, where annotations are read; and that some of these photos are turned."""
        if self.format == "none":
            return
        counts = ", ".join(f"{part.num_with_boxes:,} of {len(part):,} {name}".rstrip() for name, part in parts.items())
        log.info("data: images with boxes: %s", counts)
        if not any(part.num_with_boxes for part in parts.values()):
            log.warning("no image has a box, by %s: localization is not scored", self.annotations)
        turned = turned_photos(parts.values()) if self.exif == "auto" else []
        if turned:
            log.warning(
                "photos with boxes are turned when they are shown (EXIF), such as %s: their boxes are taken in the "
                "pixels as they are stored. Where they were drawn on the upright picture, say dataset.exif=upright, "
                "else dataset.exif=stored",
                turned[0],
            )

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
