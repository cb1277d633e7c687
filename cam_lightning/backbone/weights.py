"""Fills a network from published ImageNet weights or from a file, and says what happened to every layer."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import WeightsEnum

from cam_lightning.backbone.caffemodel import SUFFIX as CAFFEMODEL
from cam_lightning.backbone.caffemodel import caffe_tensors
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.functional.finite_output import broken_among
from cam_lightning.run.earlier import EARLIER_LAYERS
from cam_lightning.run.tensor_file import read_tensor_file

_log = logging.getLogger(__name__)

_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net")
# Of Lightning modules, DataParallel and torch.compile.
_PREFIXES = ("network.", "module.", "_orig_mod.", "model.", "net.")
# What torch raises for files that are cut short, of another kind, or hold code.
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError)


def read_torchvision(weights: WeightsEnum) -> Mapping[str, Tensor]:
    """The state dict of one of torchvision's weights: from torch hub's cache, else downloaded and checked.

    Raises OSError with the file's name and place where the download fails or the file is damaged.
    """
    try:
        return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, *_UNREADABLE) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise OSError(
            f"cannot download or read {weights.url} ({error}); put that file into {folder}, "
            "or name a file of your own: backbone.weights=FILE"
        ) from error


def load_weights(network: TrunkNetwork, weights: str, new_head: bool = True) -> None:
    """Fills `network` in place and logs what was loaded, what is new and what was left over.

    `weights` is `none` (nothing happens), `imagenet`, or a file: a state dict under published names or
    ours, a checkpoint of ours, or a `.caffemodel`. Values of any precision become float32. Layers that the
    weights do not cover keep their initialisation and are named in `network.new_layers`. A head of other
    classes or on other features counts as not covered; with `new_head=False`, for evaluation, every layer must be.

    Raises FileNotFoundError for a missing file, OSError for a failed download, and ValueError for a
    file that holds no weights, for weights of which none or only a part of a layer fits, for a shape that
    differs, for values that are not finite, and, with `new_head=False`, for layers not covered. Values of half
    precision become the network's float32.
    """
    if weights == "none":
        return
    expected = {name: value for name, value in network.state_dict().items() if not _is_counter(name)}
    entries = list(_entries(network, weights))
    unlike = [entry for entry in entries if entry[1] in expected and entry[2].shape != expected[entry[1]].shape]
    # Whole: of a head on other features the bias may fit, but it belongs to its rows.
    other_heads = {_layer(ours) for _, ours, _ in unlike if new_head} & set(network.heads)
    for name, ours, value in unlike:
        if _layer(ours) not in other_heads:
            raise ValueError(
                f"backbone.weights={weights} does not fit this network: {ours} has the shape "
                f"{tuple(expected[ours].shape)}, but {name} in the file {tuple(value.shape)}"
            )
    matched: dict[str, Tensor] = {}
    left_over: list[str] = []
    for name, ours, value in entries:
        if ours in expected and _layer(ours) not in other_heads:
            matched[ours] = value
        elif not _is_counter(name):
            left_over.append(name)
    if not matched:
        raise ValueError(
            f"backbone.weights={weights} fits no layer of this network: the file has "
            f"{_examples(left_over)}, the network {_examples(expected)}"
        )
    broken = broken_among(matched.items(), f"backbone.weights={weights} is broken")
    if broken:
        raise ValueError(broken)
    missing = [name for name in expected if name not in matched]
    new_layers = tuple(dict.fromkeys(_layer(name) for name in missing))
    incomplete = set(new_layers) & {_layer(name) for name in matched}
    if incomplete:
        lacking = [name for name in missing if _layer(name) in incomplete]
        raise ValueError(f"backbone.weights={weights} holds only a part of a layer: {lacking} are missing")
    if new_layers and not new_head:
        raise ValueError(
            f"backbone.weights={weights} does not cover {', '.join(new_layers)}, which would stay at "
            "random values: evaluation needs the weights of a trained network"
        )
    network.load_state_dict(matched, strict=False)
    network.new_layers = new_layers
    network.is_loaded = True
    _log.info("%s: loaded %d tensors", weights, len(matched))
    _log.info("%s: new, kept at initialisation: %s", weights, ", ".join(new_layers) or "nothing")
    _log.info("%s: left over in the weights: %s", weights, _summary(left_over))


def weights_num_classes(network: TrunkNetwork, weights: str) -> int:
    """How many classes the weights tell apart: the outputs of what becomes `network`'s head.

    Raises as `load_weights` does, and ValueError where the weights hold no head.
    """
    for _, ours, value in _entries(network, weights):
        if ours == f"{network.heads[0]}.weight":
            return value.shape[0]
    raise ValueError(
        f"backbone.weights={weights} holds no {network.heads[0]}, the layer that tells the classes apart: "
        "evaluation needs the weights of a trained network"
    )


def _entries(network: TrunkNetwork, weights: str) -> Iterable[tuple[str, str, Tensor]]:
    """Each tensor's name in the weights, its name in the network, and the tensor."""
    if weights.lower().endswith(CAFFEMODEL):
        return caffe_tensors(network, _existing(Path(weights).expanduser()))
    return _renamed(_read(network, weights), network)


def _read(network: TrunkNetwork, weights: str) -> Mapping[str, Tensor]:
    if weights == "imagenet":
        if network.published.imagenet is None:
            raise ValueError(
                "backbone.weights=imagenet: no ImageNet weights are published for this network; "
                "use backbone.weights=FILE, or backbone.variant=torchvision where there is one"
            )
        return network.published.imagenet()
    return _read_file(Path(weights).expanduser(), _prefixes(network))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"backbone.weights={path}: there is no such file; it is none, imagenet or a file of weights"
        )
    return path


def _prefixes(network: TrunkNetwork) -> list[str]:
    """What names in a file may begin with and the network's do not, published or its own."""
    own = [*network.published.names, *network.state_dict()]
    return [prefix for prefix in _PREFIXES if not any(name.startswith(prefix) for name in own)]


def _read_file(path: Path, prefixes: list[str]) -> Mapping[str, Tensor]:
    _existing(path)
    content = read_tensor_file(path, "backbone.weights")
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    named = content.items() if isinstance(content, Mapping) else ()
    given = {str(name): value for name, value in named if torch.is_tensor(value)}
    if not given:
        raise ValueError(f"backbone.weights={path} holds no weights, but {type(content).__name__}")
    tensors: dict[str, Tensor] = {}
    first: dict[str, str] = {}
    for name, value in given.items():
        bare = _unwrapped(name, prefixes)
        if bare in tensors:
            raise ValueError(
                f"backbone.weights={path} holds {bare} twice, as {first[bare]} and {name}: save those of one network"
            )
        tensors[bare], first[bare] = value, name
    return tensors


def _unwrapped(name: str, prefixes: list[str]) -> str:
    while prefix := next(filter(name.startswith, prefixes), ""):
        name = name.removeprefix(prefix)
    return name


def _renamed(tensors: Mapping[str, Tensor], network: TrunkNetwork) -> Iterable[tuple[str, str, Tensor]]:
    """Each tensor's name in the file, its name in the network, and the tensor."""
    trunk = {name for name in network.state_dict() if name.startswith("trunk.")}
    # A file of ours shows by its trunk's names: a head's name alone could be somebody else's.
    names = {"": "", **EARLIER_LAYERS} if trunk & set(tensors) else network.published.names
    for name, value in tensors.items():
        prefix = max(filter(name.startswith, names), key=len, default=None)
        yield name, name if prefix is None else names[prefix] + name.removeprefix(prefix), value


def _is_counter(name: str) -> bool:
    """Batch normalisation counts its batches; published files often lack the count, and nothing needs it."""
    return name.endswith("num_batches_tracked")


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _examples(names: Iterable[str]) -> str:
    first = list(names)[:3]
    return ", ".join(first) + ", …" if first else "nothing"


def _summary(names: list[str]) -> str:
    counts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{layer} ({count} tensors)" for layer, count in counts.items()) or "nothing"
