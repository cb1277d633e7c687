"""A probe's network: a frozen one, of which one linear layer reads what it knows, pooled (section 4 of the paper)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.layers import cam_fc
from cam_lightning.backbone.network import ClassMapNetwork, GapNetwork, PublishedWeights, TrunkNetwork
from cam_lightning.backbone.pooling import Pool
from cam_lightning.functional.network_input import blank_input, evaluation_mode


def probe(
    network: TrunkNetwork, layer: str | None = None, normalise: bool = False, independent_classes: bool = False
) -> TrunkNetwork:
    """The network whose classifier reads `layer`, and, with `normalise`, features of length 1.

    `layer` is a module's name, as `named_modules` has it; None is what the classifier reads anyway: the pooled last
    map, or of a fully connected network its last hidden layer (fc7 of AlexNet). Where nothing changes it is the
    network itself. With `independent_classes` each of its scores answers for its class alone, as rows of several labels
    an image do. Raises ValueError for a network that is not one of `backbone/network.py` or has several heads, for
    a layer that there is not, and for one that gives neither maps nor vectors.
    """
    if len(getattr(network, "heads", ())) != 1:
        raise ValueError(f"a probe needs a network with one linear layer at its end, not {type(network).__name__}")
    is_read_anyway = layer is None and not normalise and isinstance(head_of(network), nn.Linear)
    probed = network if is_read_anyway else ProbeNetwork(network, layer, normalise)
    if independent_classes:
        probed.independent_classes = True
    return probed


class ProbeNetwork(GapNetwork):
    """A network as far as one of its layers, pooling over the whole map, and one linear layer.

    A layer of maps is pooled as the network pools, on average unless that is by the maximum. With `normalise` the
    pooled features F are divided by their length: the score is w · F/|F| + b, so the class activation map, which has
    the score as its mean, is w · f(x, y)/|F| + b. Within one image that is the map without the division times a
    positive number: boxes by a share of the maximum are the same. Between images it tells less: how strong the
    features are, which an unscaled map shows too, is divided away.

    A layer of vectors, such as fc7, has no place in the image left, and so no class activation map.
    """

    def __init__(self, network: TrunkNetwork, layer: str | None = None, normalise: bool = False) -> None:
        pool: Pool = "max" if isinstance(network, GapNetwork) and network.pool == "max" else "average"
        if layer is None and isinstance(network, GapNetwork | ClassMapNetwork):
            trunk, has_map, units = network.trunk, True, _num_inputs(head_of(network))
        else:
            trunk = LayerTrunk(network, layer)
            shape = trunk.output_shape(blank_input(network, (max(224, network.min_size),) * 2))
            has_map, units = len(shape) == 4, shape[1]
        super().__init__(
            trunk,
            cam_fc(units, network.num_classes),
            normalization=network.normalization,
            min_size=network.min_size,
            published=PublishedWeights({}),
            pool=pool,
        )
        if isinstance(trunk, LayerTrunk):
            # The old head is not reached any more; its rows would only travel along.
            trunk.forget(network.heads[0])
        self.has_map = has_map
        self.normalise = normalise

    def logits(self, features_BKhw: Tensor) -> Tensor:
        pooled_BK = self.pooled(features_BKhw)
        return self.classifier(F.normalize(pooled_BK) if self.normalise else pooled_BK)

    def pooled(self, features_BKhw: Tensor) -> Tensor:
        """The features (B, K) before they are divided by their length."""
        return features_BKhw.mean((2, 3)) if self.pool == "average" else features_BKhw.amax((2, 3))

    def maps(self, output: Any, classes_BT: Tensor) -> Tensor | None:  # type: ignore[override]
        if not self.has_map:
            return None
        maps_BThw = super().maps(output, classes_BT)
        if not self.normalise:
            return maps_BThw
        length_B = self.pooled(output.features_BKhw.detach()).norm(dim=1).clamp_min(1e-12)
        return maps_BThw / length_B[:, None, None, None]


class LayerTrunk(nn.Module):
    """Runs a network as far as one layer, and gives that layer's output; without a layer, what its head reads."""

    def __init__(self, network: TrunkNetwork, layer: str | None) -> None:
        super().__init__()
        names = dict(network.named_modules())
        if layer is not None and (layer not in names or not layer or layer == network.heads[0]):
            here = ", ".join(name for name in names if name and name != network.heads[0])
            raise ValueError(f"layer={layer} is no layer that a probe can read; this network has: {here}")
        self.network = network
        self.head = network.heads[0]
        self.layer = layer

    def extra_repr(self) -> str:
        return f"layer={self.layer}"

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, K, h, w); of vectors (B, K, 1, 1)."""
        output = self.read(x_B3HW)
        return output if output.ndim == 4 else output[:, :, None, None]

    def read(self, x_B3HW: Tensor) -> Tensor:
        """The layer's output as it is."""
        if self.layer is None:
            handle = self.network.get_submodule(self.head).register_forward_pre_hook(_stop_before)
        else:
            handle = self.network.get_submodule(self.layer).register_forward_hook(_stop_after)
        try:
            self.network(x_B3HW)
        except _ReachedError as reached:
            return reached.output
        finally:
            handle.remove()
        raise ValueError(f"layer={self.layer} is not used by this network")

    def output_shape(self, blank_13HW: Tensor) -> torch.Size:
        """That of one image; raises ValueError for what is neither maps (1, K, h, w) nor vectors (1, K)."""
        with torch.no_grad(), evaluation_mode(self.network):
            output = self.read(blank_13HW)
        if not isinstance(output, Tensor) or output.ndim not in (2, 4):
            given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer={self.layer} gives {given}: a probe reads maps (B, K, h, w) or vectors (B, K)")
        return output.shape

    def forget(self, head: str) -> None:
        """Takes a head out of the network."""
        parent, _, name = head.rpartition(".")
        setattr(self.network.get_submodule(parent), name, nn.Identity())


class _ReachedError(Exception):
    """Ends a forward where its result is known."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def _stop_before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    raise _ReachedError(inputs[0])


def _stop_after(module: nn.Module, inputs: Any, output: Tensor) -> None:
    raise _ReachedError(output)


def head_of(network: TrunkNetwork) -> nn.Module:
    """The layer that has one output per class."""
    return network.get_submodule(network.heads[0])


def classifier_input(network: TrunkNetwork, x_B3HW: Tensor) -> Tensor:
    """float32 (B, K): what the classifier of a network reads of normalised images."""
    handle = head_of(network).register_forward_pre_hook(_stop_before)
    try:
        network(x_B3HW)
    except _ReachedError as reached:
        return reached.output.float()
    finally:
        handle.remove()
    raise ValueError(f"{type(network).__name__} does not use its {network.heads[0]}")


def set_classifier(network: TrunkNetwork, weight_CK: Tensor, bias_C: Tensor) -> None:
    """Gives a network, in place, a classifier of these rows: C classes, whatever their number was before."""
    classifier = nn.Linear(weight_CK.shape[1], weight_CK.shape[0])
    with torch.no_grad():
        classifier.weight.copy_(weight_CK)
        classifier.bias.copy_(bias_C)
    parent, _, name = network.heads[0].rpartition(".")
    setattr(network.get_submodule(parent), name, classifier.to(next(network.parameters()).device))


def _num_inputs(head: nn.Module) -> int:
    return head.in_features if isinstance(head, nn.Linear) else head.in_channels  # type: ignore[return-value]
