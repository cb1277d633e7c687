"""Boxes of original photos on resized copies, which are what most people have of ILSVRC and CUB-200-2011."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol

import numpy as np

from cam_lightning.dataset.pipeline.image_file import read_header

Size = tuple[int, int]
"""Height and width."""


class Annotated(Protocol):
    """A split that knows the original sizes of its photos."""

    @property
    def size_N2(self) -> np.ndarray:
        """Height and width that the annotations give; zeros where they say nothing."""
        ...

    @property
    def num_boxes_N(self) -> np.ndarray: ...

    def place(self, index: int) -> str: ...

    def encoded(self, index: int) -> tuple[str, bytes]: ...


class Resizing(NamedTuple):
    """How copies were made: with their ratio kept, each of any size; or all squashed to one square."""

    square: int | None
    """The side of that square, where all copies that were looked at have it."""

    def fits(self, size: Size, original: Size) -> bool:
        """Whether a copy of this size can show the whole of a photo of the size `original`.

        It does where one factor gives both sides, each to within a pixel: tools round up, down, or either way.
        """
        if size == (self.square, self.square):
            return True
        (height, width), (rows, columns) = size, original
        return max((height - 1) / rows, (width - 1) / columns) < min((height + 1) / rows, (width + 1) / columns)

    def boxes(self, boxes_N4: np.ndarray, size: Size, original: Size, place: str) -> np.ndarray:
        """float32 (N, 4): half-open boxes of the original photo, in the pixels of its copy.

        Raises ValueError, naming the copy, where it is of another ratio and so no resize of the photo.
        """
        if not self.fits(size, original):
            raise ValueError(f"{misfit(place, size, original)}. {ADVICE}")
        factor_4 = np.array([size[1] / original[1], size[0] / original[0]] * 2)
        return (boxes_N4 * factor_4).astype(np.float32)


ADVICE = (
    "dataset.resized=true takes whole photos, resized with their ratio kept or all squashed to one square: on "
    "others, cropped or turned, the official boxes would be wrong"
)


def misfit(place: str, size: Size, original: Size) -> str:
    """What is wrong with a copy, in words."""
    return f"{place} is {size[1]}×{size[0]}, which no resize makes of a photo of {original[1]}×{original[0]}"


def find_resizing(split: Annotated, sample: int = 512) -> Resizing:
    """How the copies of a split were made, from the headers of some of them, taken evenly.

    Raises ValueError where one of these is no resize of its photo, or where a photo has boxes and its annotation gives
    no size to scale them by.
    """
    is_known_N = split.size_N2[:, 0] > 0
    lost = np.flatnonzero(~is_known_N & (split.num_boxes_N > 0))
    if len(lost):
        raise ValueError(
            f"dataset.resized=true scales boxes by the original photo's size, which the annotation of "
            f"{split.place(int(lost[0]))} does not give ({len(lost):,} of {len(is_known_N):,} images)"
        )
    known = np.flatnonzero(is_known_N)
    sizes: dict[int, Size] = {}
    for image in known[np.linspace(0, len(known) - 1, min(sample, len(known))).astype(int)].tolist():
        try:
            name, data = split.encoded(image)
            sizes[image] = read_header(data, name).shown_size(upright=False)
        except OSError:
            # What is to become of it is `on_bad_image`'s to say, where the image is met.
            continue
    shared = set(sizes.values())
    side = next(iter(shared))[0] if len(shared) == 1 else None
    resizing = Resizing(side if shared == {(side, side)} else None)
    wrong = [
        image
        for image, size in sizes.items()
        if not resizing.fits(size, (split.size_N2[image, 0], split.size_N2[image, 1]))
    ]
    if wrong:
        # Among squashed copies the odd one is to be named, not the first of all others.
        usual = Counter(sizes.values()).most_common(1)[0][0]
        image = next((image for image in wrong if sizes[image] != usual), wrong[0])
        height, width = split.size_N2[image].tolist()
        raise ValueError(f"{misfit(split.place(image), sizes[image], (height, width))}. {ADVICE}")
    return resizing
