"""Which image an annotation means: people write paths of other folders, systems and alphabets' forms."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from cam_lightning.dataset.format.folder_annotations import ImageAnnotation
from cam_lightning.dataset.format.folder_tree import ImageEntry
from cam_lightning.dataset.pipeline.image_file import is_image
from cam_lightning.dataset.pipeline.split import Finding


def annotations_of(
    entries: Sequence[ImageEntry], annotations: Sequence[ImageAnnotation], file: Path, images: Path, with_suffix: bool
) -> tuple[dict[int, ImageAnnotation], list[Finding]]:
    """Each image's annotation, by its position among `entries`; and what fits no image, or several.

    `file` is where the annotations are and `images` where the images; XML files are called without suffix. Raises
    ValueError, with an example of both, where no annotation at all is of an image.
    """
    found: dict[int, ImageAnnotation] = {}
    findings: list[Finding] = []
    missing: list[ImageAnnotation] = []
    for annotation, indices in AnnotatedImages([entry.id for entry in entries], with_suffix).find(annotations):
        if not indices and annotation.faults:
            findings.append(Finding("wrong", f"{annotation.place}: {'; '.join(annotation.faults)}", True))
        elif not indices:
            missing.append(annotation)
        elif len(indices) > 1:
            both = " and ".join(entries[index].id for index in indices[:2])
            what = f"{annotation.image} may be {both}: give more of the path, or rename one"
            found |= {index: annotation._replace(names=[], objects=[], faults=[what]) for index in indices}
        elif indices[0] in found:
            found[indices[0]].faults.append(f"{entries[indices[0]].id} is annotated again in {annotation.place}")
        else:
            found[indices[0]] = annotation
    if missing and not found:
        such = f", such as {entries[0].id!r}" if entries else ""
        raise ValueError(
            f"no image has an annotation: the {len(annotations):,} in {file} name {missing[0].image!r} and the like, "
            f"and below {images} are {len(entries):,} images{such}. An image is named by any end of its path"
        )
    unannotated = len(entries) - len(found)
    such = next((entry.id for index, entry in enumerate(entries) if index not in found), "")
    findings += [
        Finding(
            "missing image",
            f"{each.place}: there is no image {each.image} below {images} ({len(missing):,} of {len(annotations):,} "
            f"annotations have none; {unannotated:,} images have no annotation{f', such as {such}' if such else ''})",
            True,
        )
        for each in missing
    ]
    return found, findings


class AnnotatedImages:
    """Finds an image by what an annotation calls it: `a.jpg`, `cat/a.jpg` and `train/cat/a.jpg` may be one image.

    What is not found as it is written is looked for with its backslashes as slashes, its `%20` as spaces, its
    characters composed (NFC), letters of either case, and without suffix where it has none; and then with the folders
    left out that it begins with and the tree has not, as `C:\\photos\\a.jpg` or Label Studio's `images/a.jpg`.
    """

    def __init__(self, ids: Sequence[str], with_suffix: bool) -> None:
        self.with_suffix = with_suffix
        self._exact = Endings(ids if with_suffix else map(_stem, ids))
        self._loose = Endings(map(_loose, ids if with_suffix else map(_stem, ids)))
        self._stems = Endings(map(_loose, map(_stem, ids))) if with_suffix else self._loose
        self._folders = {folder for identity in ids for folder in _loose(identity).split("/")[:-1]}

    def find(self, annotations: Iterable[ImageAnnotation]) -> list[tuple[ImageAnnotation, list[int]]]:
        """Each annotation with the images that it may mean: none, one, or several where it does not say which.

        An image is found by leaving folders out only where that gives it to one annotation alone, and no other
        annotation means it as it is written: a photo that is missing must not lend its boxes to another of its name.
        """
        found = [(annotation, self._direct(annotation.image)) for annotation in annotations]
        taken = {index for _, indices in found for index in indices}
        guesses = [[] if indices else self._without_folders(annotation.image) for annotation, indices in found]
        claims = Counter(guess[0] for guess in guesses if len(guess) == 1)
        return [
            (annotation, guess if len(guess) == 1 and claims[guess[0]] == 1 and guess[0] not in taken else indices)
            for (annotation, indices), guess in zip(found, guesses, strict=True)
        ]

    def _direct(self, name: str) -> list[int]:
        return self._exact.find(name.removeprefix("./")) or self._any_form(_loose(name))

    def _any_form(self, name: str) -> list[int]:
        return self._loose.find(name) or ([] if is_image(name) else self._stems.find(name))

    def _without_folders(self, name: str) -> list[int]:
        first, *rest = _loose(name).split("/")
        # A folder that the tree has too says that the image would have to be in it.
        while rest and first not in self._folders:
            if indices := self._any_form("/".join(rest)):
                return indices
            first, *rest = rest
        return []


class Endings:
    """Finds paths by how they end, from any of their folders on."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._found: dict[str, list[int]] = {}
        for index, path in enumerate(paths):
            parts = path.split("/")
            for start in range(len(parts)):
                self._found.setdefault("/".join(parts[start:]), []).append(index)

    def find(self, ending: str) -> list[int]:
        """The positions of the paths that end so."""
        return self._found.get(ending, [])


def _stem(path: str) -> str:
    """Without the suffix, where it is an image's: `Dr. Who` ends in none."""
    return path.rpartition(".")[0] if is_image(path) else path


def _loose(name: str) -> str:
    """One form for what people write in many: see `AnnotatedImages`."""
    name = unicodedata.normalize("NFC", unquote(name.strip()).replace("\\", "/")).casefold()
    parts = [part.strip() for part in re.sub(r"^(file://|[a-z]:)", "", name).split("/")]
    return "/".join(part for part in parts if part not in ("", ".", ".."))
