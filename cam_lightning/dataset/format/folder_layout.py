"""Where in a folder the images are, and which of its folders are splits: read where unmistakable, else asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cam_lightning.dataset.format.folder_tree import ImageEntry, Tree, holds_images, printable, shown_tree
from cam_lightning.dataset.pipeline.image_file import SUFFIXES, is_image
from cam_lightning.dataset.pipeline.walk import is_companion, walk

SPLITS = ("train", "val", "test")
_ROLE = re.compile(
    r"(?:(train)(?:ing)?|(val)(?:id|idation)?|(test)(?:ing)?)[ _-]*(?:set|split|data|images)?[ _-]*\d{0,4}"
)
IMAGE_FOLDERS = ("images", "jpegimages")


class Layout(NamedTuple):
    """Folders of images by what they are for."""

    images: Path
    split_folders: dict[str, str]
    """From train, val and test to folders of `images`; from "" to "" where there are none."""
    ignored: list[str]
    """Folders that hold images and belong to no split."""


def role_of(folder: str) -> str:
    """Which split a folder's name stands for: `Train`, `training`, `train2017`, `valid`, `Test_Images`; "" for none."""
    found = _ROLE.fullmatch(folder.lower())
    return next(filter(None, found.groups())) if found else ""


def find_layout(
    root: Path, images: str | None, splits: str | Mapping[str, str], leave_out: Sequence[Path], are_named: bool
) -> Layout:
    """What the folders stand for; raises ValueError, with the tree, where they may be read in several ways.

    `splits` is `auto`, `none` (every folder is a class) or the folder of each split; `are_named` where annotations
    may name the images' classes.
    """
    folder = root / images if images is not None else _images(root, leave_out)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"dataset.root={root}: {folder} is no folder. Expected class folders of images there, or in its folders "
            "train and test, or images whose annotations name their class (dataset.format)."
        )
    if splits == "none":
        return Layout(folder, {"": ""}, [])
    names = _folders(folder, leave_out)
    if isinstance(splits, Mapping):
        absent = [f"{split}: {name}" for split, name in splits.items() if not (folder / name).is_dir()]
        if absent:
            raise FileNotFoundError(f"dataset.splits names folders that are not in {folder}: {', '.join(absent)}")
        return Layout(folder, dict(splits), _others(folder, names, list(splits.values()), leave_out))
    roles = {split: [name for name in names if role_of(name) == split] for split in SPLITS}
    roles = {split: found for split, found in roles.items() if found}
    in_roles = [name for found in roles.values() for name in found]
    if not any(holds_images(folder / name, leave_out) for name in in_roles):
        return Layout(folder, {"": ""}, [])
    for split, several in roles.items():
        if len(several) > 1:
            such = ", ".join(f"{each}: {found[0]}" for each, found in roles.items())
            raise ValueError(
                f"{folder} has {' and '.join(several)}, which may both be the split {split}: {shown_tree(folder)}. "
                f"Say which is, with dataset.splits={{{such}}}"
            )
    others = _others(folder, names, in_roles, leave_out)
    has_classes = are_named or any(_has_class_folders(folder / name, leave_out) for name in in_roles)
    if others and not (len(roles) > 1 and has_classes):
        raise ValueError(
            f"{folder} has {', '.join(sorted(in_roles))}, a split by its name, beside {', '.join(others[:5])}: "
            f"{shown_tree(folder)}. Where each is a class, say dataset.splits=none; where they are splits, "
            f"dataset.splits={{train: {in_roles[0]}, test: …}}"
        )
    return Layout(folder, {split: name for split, (name,) in roles.items()}, others)


def require_classes(layout: Layout, entries: Sequence[ImageEntry]) -> None:
    """Raises ValueError, with the tree, where what was read as class folders are splits, or one folder of classes.

    That is what a root that lies a folder too high looks like.
    """
    folders: dict[tuple[str, str], set[str]] = {}
    direct: set[str] = set()
    for entry in entries:
        split = next((part for part in layout.split_folders.values() if part and entry.path.startswith(f"{part}/")), "")
        inside = entry.path.removeprefix(f"{split}/" if split else "").split("/")
        if len(inside) > 2:
            folders.setdefault((split, entry.class_folder), set()).add(inside[1])
        elif len(inside) == 2:
            direct.add(entry.class_folder)
    ways_out = "give the folder that holds the class folders as dataset.root or dataset.images"
    for (part, name), inner in folders.items():
        if not part and len({role_of(each) for each in inner} - {""}) > 1:
            raise ValueError(
                f"{layout.images} has no class folders: {name} holds splits ({', '.join(sorted(inner))[:80]}): "
                f"{shown_tree(layout.images)}. Is it a folder too high? Then {ways_out}; where {name} is a class, "
                "say dataset.splits=none"
            )
    classes = {name for _, name in folders} | direct
    if len(classes) == 1 and not direct:
        raise ValueError(
            f"{layout.images} has one class folder alone, {classes.pop()}, with folders in it and no image: "
            f"{shown_tree(layout.images)}. Is it a folder too high? Then {ways_out}; where it is one class, say "
            "dataset.class_from=folder"
        )


def no_image(layout: Layout, num_images: int, trees: Iterable[Tree]) -> str:
    """What is said of a folder in which no image has a class."""
    left_out = [path for tree in trees for path in (*tree.others, *(path for _, path in tree.left_out))]
    such = f", and {len(left_out):,} other files, such as {printable(left_out[0])}" if left_out else ""
    return (
        f"{layout.images} holds no image with a class (looked at {num_images:,} images{such}): "
        f"{shown_tree(layout.images)}. What counts as an image: {', '.join(sorted(SUFFIXES))}"
    )


def named_in(folder: Path, name: str) -> Path:
    """A folder's entry of a name, in letters of either case where there is none of exactly that name."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    return next((path for path in sorted(folder.iterdir()) if path.name.lower() == name), exact)


def pictures_beside_xml(folder: Path) -> bool:
    """Whether the first XML files in a folder, or below it, lie beside the images that they are called after."""
    for _, _, files in walk(folder) if folder.is_dir() else ():
        stems = {Path(name).stem for name in files if name.lower().endswith(".xml")}
        if stems:
            return any(is_image(name) and Path(name).stem in stems for name in files)
    return False


def _images(root: Path, leave_out: Sequence[Path]) -> Path:
    """`root/images` (or VOC's `JPEGImages`) where there is one, unless the root's own folders are the splits."""
    folders = _folders(root, leave_out) if root.is_dir() else []
    inside = next((root / each for wanted in IMAGE_FOLDERS for each in folders if each.lower() == wanted), None)
    if inside is None:
        return root
    beside = sorted(name for name in folders if role_of(name) and holds_images(root / name, leave_out))
    if not beside:
        return inside
    if _has_class_folders(inside, leave_out) or len({role_of(name) for name in beside}) < 2:
        raise ValueError(
            f"{root} has images both in {inside.name}/ and in {', '.join(beside)}: {shown_tree(root)}. "
            f"Say which are meant: dataset.images={inside.name}, or dataset.images=."
        )
    return root


def _folders(folder: Path, leave_out: Sequence[Path]) -> list[str]:
    closed = {path.resolve() for path in leave_out}
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not is_companion(path.name) and path.resolve() not in closed
    )


def _others(folder: Path, names: list[str], splits: list[str], leave_out: Sequence[Path]) -> list[str]:
    return [printable(name) for name in names if name not in splits and holds_images(folder / name, leave_out)]


def _has_class_folders(folder: Path, leave_out: Sequence[Path]) -> bool:
    return any(holds_images(folder / name, leave_out) for name in _folders(folder, leave_out))
