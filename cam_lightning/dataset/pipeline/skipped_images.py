"""Which images could not be read and were skipped, over all processes of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cam_lightning.dataset.pipeline.examples import Examples

log = logging.getLogger(__name__)


class SkippedImages:
    """Collects positions of skipped images per split; an image is counted once, however often it is met."""

    def __init__(self) -> None:
        self._examples: dict[str, Examples] = {}
        self._indices: dict[str, set[int]] = {}

    def note(self, split: str, examples: Examples, skipped_S: Tensor | None) -> None:
        """Takes one batch's `skipped_S`, and says in the log why each new one cannot be read."""
        self._examples[split] = examples
        known = self._indices.setdefault(split, set())
        for index in [] if skipped_S is None else skipped_S.tolist():
            if index not in known:
                known.add(index)
                log.warning("skipped: %s", examples.complaint(index))

    def positions(self) -> dict[str, list[int]]:
        """The skipped images' positions by split, rising, of all ranks; all of them must call it."""
        gathered = [self._indices]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts: list[dict[str, set[int]] | None] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, self._indices)
            gathered = [part for part in parts if part is not None]
        splits = dict.fromkeys(split for part in gathered for split in part)
        return {split: sorted(set().union(*(part.get(split, ()) for part in gathered))) for split in splits}

    def remember(self, positions: Mapping[str, Sequence[int]], examples: Mapping[str, Examples]) -> None:
        """Adds what `positions` gave before a run was cut off; `examples` are all splits."""
        for split, indices in positions.items():
            self._examples[split] = examples[split]
            self._indices.setdefault(split, set()).update(indices)

    def ids(self) -> dict[str, list[str]]:
        """The skipped images' ids by split, in the split's order, of all ranks; all of them must call it."""
        positions = self.positions()
        return {
            split: [examples.ids[index] for index in positions[split]] for split, examples in self._examples.items()
        }
