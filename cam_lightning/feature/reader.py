"""Features of a frozen network, of any split, each image once: what is in the file already is not computed again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.probe import classifier_input, head_of
from cam_lightning.contracts import Batch
from cam_lightning.dataset.pipeline.split import ImageSplit, Subset
from cam_lightning.feature.fingerprint import image_key, network_fingerprint
from cam_lightning.feature.store import FeatureStore
from cam_lightning.functional.finite_output import NAMED_IMAGES, broken_tensor
from cam_lightning.functional.network_input import full_float32, normalised
from cam_lightning.run.file import write_json
from cam_lightning.run.progress import bar

log = logging.getLogger(__name__)


class FeatureReader:
    """What the classifier of one network reads, of images at one input size; float32, kept in a file in `folder`.

    The file is named after the network's fingerprint and the `options` that it was built with, its records after each
    image's id, bytes and view: where any of these has changed there are other features, and what is out of date is
    never read. Two runs may use one folder at once: one of them computes, the other waits for it.
    """

    def __init__(
        self,
        network: TrunkNetwork,
        input_size: tuple[int, int],
        folder: Path,
        name: str,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network.eval()
        self.input_size = input_size
        fingerprint = network_fingerprint(network, pool=getattr(network, "pool", None), options=options)
        head = head_of(network)
        units: int = head.in_features if hasattr(head, "in_features") else head.in_channels  # type: ignore[assignment]
        self.store = FeatureStore(folder / f"{name}-{fingerprint}.features", units)
        self.description = {"network": name, "fingerprint": fingerprint, "units": units}
        self.num_computed = 0
        """How many images the network has seen so far."""

    def read(
        self,
        split: ImageSplit,
        batches: Callable[[ImageSplit], DataLoader[Any]],
        what: str,
        may_skip: bool = False,
    ) -> np.ndarray:
        """float32 (N, K) of a split's images, in its order; `batches` shows a split as evaluation sees it.

        With `may_skip` a row of an image that cannot be read is NaN; without it such an image raises OSError. Raises
        FloatingPointError where the network itself gives what is no finite number.
        """
        keys = self._keys(split, what, may_skip)
        missing = self._missing(keys)
        if missing:
            with self.store.writing():
                write_json(self.store.path.with_suffix(".json"), self.description)
                missing = self._missing(keys)
                self._compute(split, keys, missing, batches, what)
        readable = [index for index, key in enumerate(keys) if key is not None and key in self.store]
        features_NK = np.full((len(split), self.store.units), np.nan, np.float32)
        features_NK[readable] = self.store.read([key for i in readable if (key := keys[i]) is not None])
        self._require_finite(features_NK[readable], split, readable)
        return features_NK

    def _require_finite(self, features_NK: np.ndarray, split: ImageSplit, images: Sequence[int]) -> None:
        """Raises FloatingPointError, of images at these positions: NaN would pass for one that cannot be read."""
        broken = np.flatnonzero(~np.isfinite(features_NK).all(axis=1))
        if len(broken):
            reason = broken_tensor(self.network) or "its weights are finite, so it overflows on the way"
            named = [str(split.ids[images[row]]) for row in broken[:NAMED_IMAGES]]
            first = ", ".join([*named, "…"] if len(broken) > NAMED_IMAGES else named)
            raise FloatingPointError(
                f"the network gives features that are no finite numbers for {len(broken):,} of {len(images):,} images "
                f"({first}): {reason}"
            )

    def _keys(self, split: ImageSplit, what: str, may_skip: bool) -> list[bytes | None]:
        """A key for every image; None where it cannot be read."""
        keys: list[bytes | None] = []
        view = {"input_size": list(self.input_size)}
        for index in bar(range(len(split)), f"{what}: looking at files", len(split)):
            try:
                keys.append(image_key(split, index, view))
            except OSError:
                if not may_skip:
                    raise
                keys.append(None)
        return keys

    def _missing(self, keys: list[bytes | None]) -> list[int]:
        """Positions of images of which there are no features, each key once."""
        wanted: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            if key is not None and key not in self.store:
                wanted.setdefault(key, index)
        return list(wanted.values())

    def _compute(
        self,
        split: ImageSplit,
        keys: list[bytes | None],
        missing: list[int],
        batches: Callable[[ImageSplit], DataLoader[Any]],
        what: str,
    ) -> None:
        known = len(keys) - len(missing)
        if not missing:
            return
        begin = time.monotonic()
        loader = batches(Subset(split, np.array(missing)))
        for batch in bar(loader, f"{what}: features of {len(missing):,} images", len(loader)):
            if len(batch.index_B):
                images = [missing[index] for index in batch.index_B.tolist()]
                chosen = [keys[index] for index in images]
                features_BK = self._features(batch)
                self._require_finite(features_BK, split, images)
                self.store.append([key for key in chosen if key is not None], features_BK)
                self.num_computed += len(chosen)
        rate = len(missing) / max(time.monotonic() - begin, 1e-6)
        log.info("%s: features of %d images computed (%.0f a second), %d known", what, len(missing), rate, known)

    @torch.no_grad()
    def _features(self, batch: Batch) -> np.ndarray:
        device = next(self.network.parameters()).device
        with full_float32(device.type):
            image_B3HW = normalised(batch.image_B3HW.to(device), *self.network.normalization)
            image_B3HW = image_B3HW.contiguous(memory_format=torch.channels_last)
            return classifier_input(self.network, image_B3HW).cpu().numpy()
