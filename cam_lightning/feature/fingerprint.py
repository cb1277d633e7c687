"""What features follow from: the network as far as its classifier, and what it sees of an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.dataset.pipeline.split import ImageSplit
from cam_lightning.feature.store import KEY_BYTES

VERSION = 1
"""Of how pixels become features: resizing, normalisation, precision."""


def network_fingerprint(network: TrunkNetwork, **further: Any) -> str:
    """32 hexadecimal digits that change with every weight, layer and option in front of the classifier.

    The classifier's own rows do not count: probes of other datasets read the same features. `further` are the
    options that no layer shows.
    """
    head = network.heads[0]
    layers = {
        name: (type(module).__qualname__, module.extra_repr())
        for name, module in network.named_modules()
        if name != head and not name.startswith(f"{head}.")
    }
    told = {"version": VERSION, "layers": layers, "normalization": network.normalization, **further}
    digest = hashlib.blake2b(json.dumps(told, sort_keys=True, default=str).encode(), digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith(f"{head}."):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def image_key(split: ImageSplit, index: int, view: Mapping[str, Any]) -> bytes:
    """The key of one image as it is seen: its id, its file's bytes (or its pixels), what is cut of it, and the size.

    Raises OSError where the file cannot be read.
    """
    digest = hashlib.blake2b(json.dumps(view, sort_keys=True).encode(), digest_size=KEY_BYTES)
    digest.update(split.ids[index].encode("utf-8", "surrogateescape") + b"\0")
    digest.update(split.content(index))
    return digest.digest()
