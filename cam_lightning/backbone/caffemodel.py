"""Weights in Caffe's own files, `.caffemodel`: the form in which the paper's networks, and their trunks, are published.

A file is one protobuf message, `NetParameter` of Caffe's `caffe.proto`. Declared here are the few fields that are read,
in both of its generations: `layers` (V1, up to 2014) and `layer`. What else a file holds is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork

SUFFIX = ".caffemodel"

# Message → field → (number, type, of which message). Numbers as in `caffe.proto`. The arrays are packed, which on the
# wire are bytes: declared so, they arrive as they lie in the file, and not number by number.
_MESSAGES = {
    "BlobShape": {"dim": (1, "INT64", "")},
    "BlobProto": {
        "num": (1, "INT32", ""),
        "channels": (2, "INT32", ""),
        "height": (3, "INT32", ""),
        "width": (4, "INT32", ""),
        "data": (5, "BYTES", ""),
        "shape": (7, "MESSAGE", "BlobShape"),
        "double_data": (8, "BYTES", ""),
    },
    "V1LayerParameter": {"name": (4, "STRING", ""), "blobs": (6, "MESSAGE", "BlobProto")},
    "LayerParameter": {"name": (1, "STRING", ""), "blobs": (7, "MESSAGE", "BlobProto")},
    "NetParameter": {"layers": (2, "MESSAGE", "V1LayerParameter"), "layer": (100, "MESSAGE", "LayerParameter")},
}
_REPEATED = ("dim", "data", "double_data", "blobs", "layers", "layer")


class CaffeLayer(NamedTuple):
    """One layer of a file; those that only compute, such as pooling, are there too, without blobs."""

    name: str
    blobs: list[Tensor]
    """float32, of the shapes that the file gives: in V1 always four sides, the first of them often 1."""


def caffe_tensors(network: TrunkNetwork, path: Path) -> Iterator[tuple[str, str, Tensor]]:
    """Each tensor's name in a `.caffemodel`, its name in `network` (its own where it has no place), and the tensor.

    The first convolution's input channels are turned from Caffe's BGR to RGB; a layer without a bias has one of 0.
    Raises ValueError for a file that is damaged or of no network, for a network that no such file is of, and for one
    whose layers come in another order.
    """
    names = network.published.caffe
    if not names:
        raise ValueError(
            f"backbone.weights={path}: no weights of Caffe's fit this network; those of the paper's networks are read "
            "with backbone.variant=caffe"
        )
    layers = read_caffemodel(path)
    _check_order(network, path, [layer.name for layer in layers])
    expected = network.state_dict()
    first = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    for layer in layers:
        ours = names.get(layer.name)
        if ours is None or f"{ours}.weight" not in expected:
            yield from (
                (f"{layer.name}.{number}", f"{layer.name}.{number}", blob) for number, blob in enumerate(layer.blobs)
            )
            continue
        if len(layer.blobs) not in (1, 2):
            raise ValueError(
                f"backbone.weights={path}: the layer {layer.name} has {len(layer.blobs)} arrays, not weight and bias"
            )
        blobs = layer.blobs if len(layer.blobs) == 2 else [*layer.blobs, torch.zeros(len(layer.blobs[0]))]
        for part, blob in zip(("weight", "bias"), blobs, strict=True):
            value = _without_leading_ones(blob, expected[f"{ours}.{part}"].ndim)
            if ours == first and part == "weight" and value.ndim == 4:
                value = value.flip(1)
            yield f"{layer.name}.{part}", f"{ours}.{part}", value


def read_caffemodel(path: Path) -> list[CaffeLayer]:
    """The layers of a `.caffemodel` in its order; raises ValueError where it is damaged or is none."""
    net = _message("NetParameter")()
    try:
        net.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"backbone.weights={path} is damaged or no .caffemodel: {error}") from error
    layers = []
    for layer in [*net.layers, *net.layer]:
        place = f"backbone.weights={path}, layer {layer.name}"
        layers.append(CaffeLayer(layer.name, [_tensor(blob, place) for blob in layer.blobs]))
    with_blobs = [layer.name for layer in layers if layer.blobs]
    if not with_blobs:
        raise ValueError(f"backbone.weights={path} is damaged or no .caffemodel: it holds no layer with weights")
    twice = sorted({name for name in with_blobs if with_blobs.count(name) > 1})
    if twice:
        raise ValueError(f"backbone.weights={path} has several layers of the name {', '.join(twice)}")
    return layers


def _tensor(blob: Any, place: str) -> Tensor:
    """One array as float32; raises ValueError where it is not as long as its shape says."""
    double = b"".join(blob.double_data)
    kind = "<f8" if double else "<f4"
    data = double or b"".join(blob.data)
    shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
    count = len(data) // np.dtype(kind).itemsize
    if count * np.dtype(kind).itemsize != len(data) or min(shape) < 1 or count != math.prod(shape):
        raise ValueError(f"{place}: an array of the shape {shape} holds {count:,} numbers; the file is damaged")
    return torch.from_numpy(np.frombuffer(data, kind).astype(np.float32).reshape(shape))


def _check_order(network: TrunkNetwork, path: Path, names: list[str]) -> None:
    """Raises ValueError where layers without weights, that tell two networks of one shape apart, come otherwise."""
    wanted = [name for name in network.published.caffe_order if name in names]
    found = [name for name in names if name in wanted]
    if found != wanted:
        raise ValueError(
            f"backbone.weights={path} is of another network: its layers come in the order {', '.join(found)}, and "
            f"this network's are {', '.join(wanted)}. {network.published.caffe_hint}".rstrip()
        )


def _without_leading_ones(blob: Tensor, num_sides: int) -> Tensor:
    while blob.ndim > num_sides and len(blob) == 1:
        blob = blob[0]
    return blob


@cache
def _message(name: str) -> Any:
    """The class of one of `_MESSAGES`, in a pool of its own: another package may have Caffe's whole file loaded."""
    file = descriptor_pb2.FileDescriptorProto(name="caffemodel.proto", package="caffe", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for field, (number, kind, of) in fields.items():
            described.field.add(
                name=field,
                number=number,
                type=getattr(kinds, f"TYPE_{kind}"),
                type_name=f".caffe.{of}" if of else None,
                label=kinds.LABEL_REPEATED if field in _REPEATED else kinds.LABEL_OPTIONAL,
            )
        if message == "BlobShape":
            described.field[0].options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
