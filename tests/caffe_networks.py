"""Caffe without Caffe: networks as their published definitions list them, a plain forward, and `.caffemodel` files.

The definitions are those of `bvlc_googlenet`, `bvlc_alexnet`, `bvlc_reference_caffenet` (project BVLC/caffe), of the
paper's authors (project metalbubble/CAM), of VGG-16 and of NIN (Caffe's model zoo). Files are written byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Layer(NamedTuple):
    kind: str
    """conv, relu, pool, lrn, fc, mean (over the whole map) or concat."""
    name: str
    bottom: tuple[str, ...]
    units: int = 0
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    group: int = 1


def chain(*layers: tuple[str, str, dict[str, int]], begin: str = "data") -> Iterator[Layer]:
    """Layers one behind the other."""
    for kind, name, options in layers:
        yield Layer(kind, name, (begin,), **options)
        begin = name


def conv(name: str, units: int, kernel: int = 1, stride: int = 1, pad: int = 0, group: int = 1) -> list[tuple]:
    options = {"units": units, "kernel": kernel, "stride": stride, "pad": pad, "group": group}
    return [("conv", name, options), ("relu", f"relu_{name}", {})]


def pool(name: str, kernel: int = 3, stride: int = 2, pad: int = 0) -> tuple:
    return ("pool", name, {"kernel": kernel, "stride": stride, "pad": pad})


def fc(name: str, units: int) -> tuple:
    return ("fc", name, {"units": units})


def googlenet(classes: int, cam: bool) -> list[Layer]:
    """BVLC's GoogLeNet without its auxiliary heads, or through inception 4e with the authors' CAM layers."""
    layers = list(
        chain(
            *conv("conv1/7x7_s2", 64, 7, 2, 3), pool("pool1/3x3_s2"), ("lrn", "pool1/norm1", {}),
            *conv("conv2/3x3_reduce", 64), *conv("conv2/3x3", 192, 3, pad=1), ("lrn", "conv2/norm2", {}),
            pool("pool2/3x3_s2"),
        )
    )  # fmt: skip
    modules = {
        "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
    }  # fmt: skip
    for number, (one, reduce3, three, reduce5, five, proj) in modules.items():
        if cam and number == "5a":
            break
        if number in ("4a", "5a"):
            layers += chain(pool(f"pool{int(number[0]) - 1}/3x3_s2"), begin=layers[-1].name)
        begin, stem = layers[-1].name, f"inception_{number}/"
        branches = [
            list(chain(*conv(f"{stem}1x1", one), begin=begin)),
            list(chain(*conv(f"{stem}3x3_reduce", reduce3), *conv(f"{stem}3x3", three, 3, pad=1), begin=begin)),
            list(chain(*conv(f"{stem}5x5_reduce", reduce5), *conv(f"{stem}5x5", five, 5, pad=2), begin=begin)),
            list(chain(pool(f"{stem}pool", 3, 1, 1), *conv(f"{stem}pool_proj", proj), begin=begin)),
        ]
        layers += [layer for branch in branches for layer in branch]
        layers.append(Layer("concat", f"{stem}output", tuple(branch[-1].name for branch in branches)))
    if cam:
        head = [*conv("CAM_conv", 1024, 3, pad=1, group=2), ("mean", "CAM_pool", {}), fc("CAM_fc", classes)]
    else:
        head = [("mean", "pool5/7x7_s1", {}), fc("loss3/classifier", classes)]
    return [*layers, *chain(*head, begin=layers[-1].name)]


def vgg16(classes: int, cam: bool) -> list[Layer]:
    layers: list[tuple] = []
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(count):
            layers += conv(f"conv{block}_{i + 1}", (64, 128, 256, 512, 512)[block - 1], 3, pad=1)
        layers += [] if cam and block == 5 else [pool(f"pool{block}", 2)]
    if cam:
        return list(
            chain(*layers, *conv("CAM_conv", 1024, 3, pad=1, group=2), ("mean", "p", {}), fc("CAM_fc", classes))
        )
    hidden = [fc("fc6", 4096), ("relu", "relu6", {}), fc("fc7", 4096), ("relu", "relu7", {}), fc("fc8", classes)]
    return list(chain(*layers, *hidden))


def alexnet(classes: int, head: str, norm_first: bool = False) -> list[Layer]:
    """CaffeNet, or with `norm_first` BVLC's AlexNet; `head`: fc (as published), cam, or plus, the authors' AlexNet+."""

    def pooled(number: int) -> list[tuple]:
        parts = [pool(f"pool{number}"), ("lrn", f"norm{number}", {})]
        return parts[::-1] if norm_first else parts

    layers = [
        *conv("conv1", 96, 11, 4), *pooled(1), *conv("conv2", 256, 5, pad=2, group=2), *pooled(2),
        *conv("conv3", 384, 3, pad=1), *conv("conv4", 384, 3, pad=1, group=2),
        *conv("conv5", 384 if head == "plus" else 256, 3, pad=1, group=2),
    ]  # fmt: skip
    if head == "plus":
        more = [conv(name, 512, 3, pad=1, group=2) for name in ("conv6", "conv7")]
        return list(chain(*layers, pool("pool5", 3, 1), *more[0], *more[1], ("mean", "pool8", {}), fc("fc9", classes)))
    if head == "cam":
        return list(
            chain(*layers, *conv("CAM_conv", 1024, 3, pad=1, group=2), ("mean", "p", {}), fc("CAM_fc", classes))
        )
    hidden = [fc("fc6", 4096), ("relu", "relu6", {}), fc("fc7", 4096), ("relu", "relu7", {}), fc("fc8", classes)]
    return list(chain(*layers, pool("pool5"), *hidden))


def nin(classes: int) -> list[Layer]:
    return list(
        chain(
            *conv("conv1", 96, 11, 4), *conv("cccp1", 96), *conv("cccp2", 96), pool("pool1"),
            *conv("conv2", 256, 5, pad=2), *conv("cccp3", 256), *conv("cccp4", 256), pool("pool2"),
            *conv("conv3", 384, 3, pad=1), *conv("cccp5", 384), *conv("cccp6", 384), pool("pool3"),
            *conv("conv4-1024", 1024, 3, pad=1), *conv("cccp7-1024", 1024), *conv("cccp8-1024", classes),
            ("mean", "pool4", {}),
        )
    )  # fmt: skip


Blobs = dict[str, list[Tensor]]


def random_blobs(layers: list[Layer], size: tuple[int, int], seed: int = 0) -> Blobs:
    """Weight and bias of every layer that has them, for an input of this size."""
    generator = torch.Generator().manual_seed(seed)
    blobs: Blobs = {}

    def make(layer: Layer, x: Tensor) -> list[Tensor]:
        inside = (x[0].numel(),) if layer.kind == "fc" else (x.shape[1] // layer.group, layer.kernel, layer.kernel)
        bound = (6 / float(np.prod(inside))) ** 0.5
        weight = torch.empty(layer.units, *inside).uniform_(-bound, bound, generator=generator)
        blobs[layer.name] = [weight, torch.empty(layer.units).uniform_(-0.1, 0.1, generator=generator)]
        return blobs[layer.name]

    _run(layers, torch.zeros(1, 3, *size), make)
    return blobs


def forward(layers: list[Layer], blobs: Blobs, bgr_B3HW: Tensor) -> Tensor:
    """The last layer's output of pixels in Caffe's order of colours, in 0..255 less the means."""
    return _run(layers, bgr_B3HW, lambda layer, x: blobs[layer.name])


def _run(layers: list[Layer], data: Tensor, parameters) -> Tensor:  # type: ignore[no-untyped-def]
    tops = {"data": data}
    for layer in layers:
        x = tops[layer.bottom[0]]
        if layer.kind == "conv":
            x = F.conv2d(x, *parameters(layer, x), stride=layer.stride, padding=layer.pad, groups=layer.group)
        elif layer.kind == "fc":
            x = F.linear(x.flatten(1), *parameters(layer, x))
        elif layer.kind == "relu":
            x = x.relu()
        elif layer.kind == "pool":
            x = F.max_pool2d(x, layer.kernel, layer.stride, layer.pad, ceil_mode=True)
        elif layer.kind == "lrn":
            x = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
        elif layer.kind == "mean":
            x = x.mean((2, 3))
        else:
            x = torch.cat([tops[bottom] for bottom in layer.bottom], 1)
        tops[layer.name] = x
    return x


def caffemodel(layers: list[Layer], blobs: Blobs, old: bool = False, double: bool = False) -> bytes:
    """The bytes of a file with these layers; `old`: of V1, whose arrays have four sides; `double`: of 8 bytes each."""
    content = _field(1, b"a network")
    for layer in layers:
        arrays = [_blob(blob, old, double) for blob in blobs.get(layer.name, [])]
        if old:
            # bottom, top, name, blobs, blobs_lr, weight_decay.
            parts = [_field(2, b"below"), _field(3, b"above"), _field(4, layer.name.encode())]
            parts += [_field(6, array) for array in arrays]
            parts += [_tag(7, 5) + struct.pack("<f", 1.0), _tag(8, 5) + struct.pack("<f", 0.0)]
            content += _field(2, b"".join(parts))
        else:
            parts = [
                _field(1, layer.name.encode()),
                _field(2, b"Convolution"),
                _field(3, b"below"),
                _field(4, b"above"),
            ]
            content += _field(100, b"".join(parts + [_field(7, array) for array in arrays]))
    return content


def _blob(blob: Tensor, old: bool, double: bool) -> bytes:
    values = blob.numpy().astype("<f8" if double else "<f4").tobytes()
    data = _field(8 if double else 5, values)
    if not old:
        return data + _field(7, _field(1, b"".join(map(_varint, blob.shape))))
    sides = [1] * (4 - blob.ndim) + list(blob.shape)
    return b"".join(_tag(number, 0) + _varint(side) for number, side in enumerate(sides, start=1)) + data


def _field(number: int, content: bytes) -> bytes:
    return _tag(number, 2) + _varint(len(content)) + content


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
