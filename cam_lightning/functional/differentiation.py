"""Gradients of class scores with respect to pixels or layers, whatever surrounds, on a network left as it was."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.functional.token_map import TokenLayout, prefix_tokens, token_layout, token_map, with_token_map


class LayerGradients(NamedTuple):
    """What a map is made of: one layer's activations, and what they do to the scores of the wanted classes."""

    features_BKhw: Tensor
    """float32: what the layer gave."""
    gradient_BTKhw: Tensor
    """float32: of the T scores with respect to `features_BKhw`; T is 0 where none was asked for."""
    score_BT: Tensor
    """float32: what is differentiated, the logits of the wanted classes unless a map says otherwise."""


_USED_ONCE: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
"""By network, the layers that a whole forward used exactly once; a network's layers stay what they are."""


class _AllKept(Exception):
    """A forward has come as far as is asked for."""


Scores = Callable[[Tensor, Tensor], Tensor]
"""From all logits (B, C) and the wanted classes (B, T) to what is differentiated for each of them, (B, T)."""


def class_logits(logits_BC: Tensor, classes_BT: Tensor) -> Tensor:
    """The logits of the wanted classes: what is differentiated for most maps."""
    return logits_BC.gather(1, classes_BT)


def input_gradients(network: Any, image_B3HW: Tensor, classes_BT: Tensor) -> Tensor:
    """The gradients (B, T, 3, H, W), float32, of the logits of `classes_BT` with respect to normalised images.

    One forward, and one backward for each of the T classes over all images together: quicker on a CPU than batching
    over the classes too, and of no more memory. The images must not see each other, as in eval mode they do not.
    """
    with differentiable(network):
        image_B3HW = _recorded(image_B3HW)
        score_BT = _scores(network, network.forward_features(_given(image_B3HW)), classes_BT)
        return _class_gradients(score_BT, {"the image": image_B3HW})[0]


def layer_activations(
    network: Any, image_B3HW: Tensor, features_BKhw: Tensor, layers: Sequence[str | None]
) -> list[LayerGradients]:
    """As `layer_gradients`, for maps that need no gradient: the same layers, no score, nothing differentiated.

    Where `features_BKhw` alone are asked for, nothing runs. Whether a layer is used exactly once a whole forward says;
    where one has, for all of these layers, the next end at the last of them.
    """
    names = [name for name in layers if name is not None]
    used_once = _USED_ONCE.setdefault(network, set())
    kept: dict[str | None, Tensor] = {None: features_BKhw}
    layout = token_layout(network, image_B3HW)
    ends = used_once.issuperset(names)
    with torch.no_grad(), evaluation_mode(network), _keeping(network, names, kept, layout, ends), suppress(_AllKept):
        if names:
            network.forward_features(image_B3HW)
    found = []
    for name in layers:
        if name not in kept:
            raise ValueError(f"the network's layer {name} takes no part in its features")
        activations_BKhw = _plainly_laid(_placed(name, kept[name], layout))
        none_BT = activations_BKhw.new_zeros(len(activations_BKhw), 0)
        gradient_BTKhw = activations_BKhw.new_zeros(len(activations_BKhw), 0, *activations_BKhw.shape[1:])
        found.append(LayerGradients(activations_BKhw, gradient_BTKhw, none_BT))
    used_once.update(names)
    return found


def layer_gradients(
    network: Any,
    image_B3HW: Tensor,
    features_BKhw: Tensor,
    classes_BT: Tensor,
    layers: Sequence[str | None],
    scores: Scores = class_logits,
) -> list[LayerGradients]:
    """Activations and gradients of some layers, named as in `get_submodule`, for the `scores` of `classes_BT`.

    The layer None is what the head reads, `features_BKhw`, already computed for these images: where it alone is asked
    for, the head alone runs and is differentiated. For others one forward is made, and differentiated back to the
    first of them only. In-place layers behind one change nothing of it. What a layer gives as tokens, (B, N, D) or
    (B, h, w, D), becomes a map where the network says how they lie (`functional/token_map.py`). Raises ValueError for a
    name that the network does not have, and for a layer that is not used exactly once, gives no map (B, K, h, w), or
    has no say in the scores.
    """
    kept: dict[str | None, Tensor] = {}
    layout = token_layout(network, image_B3HW)
    with differentiable(network), _keeping(network, [name for name in layers if name is not None], kept, layout):
        if any(name is not None for name in layers):
            features_BKhw = network.forward_features(_ordinary(image_B3HW))
        if None in layers:
            kept[None] = _recorded(features_BKhw)
            features_BKhw = _given(kept[None])
        score_BT = _scores(network, features_BKhw, classes_BT, scores)
        for name in layers:
            if name not in kept:
                raise ValueError(f"the network's layer {name} takes no part in its class scores")
        gradients = _class_gradients(score_BT, {f"the network's layer {name}": kept[name] for name in layers})
        found = []
        for name, gradient in zip(layers, gradients, strict=True):
            laid = gradient.float()
            if name is not None and layout is not None:
                _require_a_say(name, laid, layout)
                laid = torch.stack([_placed(name, each, layout) for each in laid.unbind(1)], dim=1)
            found.append(LayerGradients(_plainly_laid(_placed(name, kept[name], layout)), laid, score_BT.detach()))
        return found


@contextmanager
def differentiable(network: Any) -> Iterator[None]:
    """Within: gradients with respect to activations alone, in eval mode, also inside of inference mode.

    The precision is the surrounding one. Afterwards every module's mode and every parameter's `requires_grad` are as
    they were, also after an error. Raises ValueError for a network that was built in inference mode.
    """
    parameters = list(network.parameters())
    if any(tensor.is_inference() for tensor in (*parameters, *network.buffers())):
        raise ValueError("a network that was built under torch.inference_mode has no gradients: build it outside")
    required = [parameter.requires_grad for parameter in parameters]
    with torch.inference_mode(False), torch.enable_grad(), evaluation_mode(network):
        try:
            # So that nothing before the layer is recorded, and nothing of the weights is computed.
            for parameter in parameters:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, was_required in zip(parameters, required, strict=True):
                parameter.requires_grad_(was_required)


def map_per_class(
    network: Any,
    image_B3HW: Tensor,
    classes_BT: Tensor,
    layers: Sequence[str],
    make: Callable[[Tensor, list[Tensor]], Tensor],
) -> Tensor:
    """What `make` makes, for each of the T classes, of the gradients by the image and by the outputs of `layers`.

    (B, T, …), where `make` gives (B, …). One class's gradients are held at a time. A layer without a say in a logit
    has gradients of 0, one that is not used (B, 1, 1, 1) of them. Raises ValueError for a layer that is used more than
    once or gives no map.
    """
    kept: dict[str | None, Tensor] = {}
    with differentiable(network), _keeping(network, layers, kept):
        image_B3HW = _recorded(image_B3HW)
        score_BT = _scores(network, network.forward_features(_given(image_B3HW)), classes_BT)
        unused = image_B3HW.new_zeros(len(image_B3HW), 1, 1, 1, requires_grad=True)
        inputs = [image_B3HW, *(kept.get(name, unused) for name in layers)]
        last = score_BT.shape[1] - 1
        made = []
        for t in range(last + 1):
            of_image, *of_layers = torch.autograd.grad(
                score_BT[:, t].sum(), inputs, retain_graph=t < last, allow_unused=True, materialize_grads=True
            )
            made.append(make(of_image.float(), [gradient.float() for gradient in of_layers]))
        return torch.stack(made, dim=1)


@contextmanager
def layer_replaced(network: Any, name: str, output_BKhw: Tensor, layout: TokenLayout | None = None) -> Iterator[None]:
    """Within, a layer gives `output_BKhw` whatever it is given; raises ValueError for a name that there is not.

    A layer that gives tokens (`layout`) keeps those that lie nowhere, as a class token.
    """
    handle = layer_named(network, name).register_forward_hook(
        lambda module, inputs, output: with_token_map(output, output_BKhw, layout)
    )
    try:
        yield
    finally:
        handle.remove()


def layer_named(network: Any, name: str) -> nn.Module:
    """A layer by its name, as in `get_submodule`; raises ValueError, with the names that there are, for no such one."""
    names = [each for each, _ in network.named_modules() if each]
    if name in names:
        return network.get_submodule(name)
    path = name.split(".")
    known = next(parent for end in range(len(path), -1, -1) if (parent := ".".join(path[:end])) in ("", *names))
    children = ", ".join(child for child, _ in network.get_submodule(known).named_children())
    close = difflib.get_close_matches(name, names, n=3)
    raise ValueError(
        f"the network has no layer {name}: {known or 'it'} has {f'the layers {children}' if children else 'no layers'}"
        + (f"; close: {', '.join(close)}" if close else "")
    )


@contextmanager
def _keeping(
    network: Any,
    names: Sequence[str],
    kept: dict[str | None, Tensor],
    layout: TokenLayout | None = None,
    ends: bool = False,
) -> Iterator[None]:
    """Within, every forward keeps what the layers `names` give; with `ends` it goes no further (`_AllKept`)."""

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            if not isinstance(output, Tensor) or token_map(output, layout) is None:
                gave = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                on = "" if layout is None else f" on the grid of {layout.grid[0]}×{layout.grid[1]} tokens"
                raise ValueError(f"the network's layer {name} gives no map (B, K, h, w){on}, but {gave}")
            if name in kept:
                raise ValueError(f"the network uses its layer {name} more than once: which of its maps is not said")
            if not torch.is_grad_enabled():
                kept[name] = _given(output)
                if ends and kept.keys() >= set(names):
                    raise _AllKept
                return output
            kept[name] = _recorded(output)
            return _given(kept[name])

        return hook

    handles = []
    try:
        for name in names:
            handles.append(layer_named(network, name).register_forward_hook(keep(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _placed(name: str | None, output: Tensor, layout: TokenLayout | None) -> Tensor:
    """What a layer gave as a map; the features, which have no name, are one."""
    map_BKhw = output if name is None else token_map(output, layout)
    assert map_BKhw is not None, "it was looked at when it was kept"
    return map_BKhw


def _require_a_say(name: str, gradient: Tensor, layout: TokenLayout) -> None:
    """Raises ValueError where a class token alone says what the scores are: a map of zeros would pass for one."""
    of_tokens = gradient[:, 0]
    if prefix_tokens(of_tokens, layout).any() and not _placed(name, of_tokens, layout).any():
        raise ValueError(
            f"of the network's layer {name} the class token alone has a say in the class scores, not the patches: name "
            "an earlier layer, such as the last block's norm1"
        )


def _ordinary(tensor: Tensor) -> Tensor:
    """A tensor that autograd may record: those made in inference mode it refuses."""
    return tensor.clone() if tensor.is_inference() else tensor


def _recorded(tensor: Tensor) -> Tensor:
    """What is differentiated to: where nothing before it is, the record starts here."""
    return tensor if tensor.requires_grad else _ordinary(tensor).detach().requires_grad_()


def _given(tensor: Tensor) -> Tensor:
    """What the next layer gets: it may work in place, and must not on what is kept."""
    return tensor.clone()


def _plainly_laid(output_BKhw: Tensor) -> Tensor:
    """As gradients lie: their products take three times as long where the channels of one of the two come last."""
    return output_BKhw.detach().float().contiguous()


def _scores(network: Any, features_BKhw: Tensor, classes_BT: Tensor, scores: Scores = class_logits) -> Tensor:
    return scores(network.forward_head(features_BKhw).logits_BC.float(), _ordinary(classes_BT))


def _class_gradients(score_BT: Tensor, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Of every input, by what errors call it, the gradients (B, T, …) of the T scores."""
    last = score_BT.shape[1] - 1
    by_class = [
        # The sum over images has for each image its own score's gradient.
        torch.autograd.grad(score_BT[:, t].sum(), [*inputs.values()], retain_graph=t < last, allow_unused=True)
        if score_BT.requires_grad
        else [None] * len(inputs)
        for t in range(last + 1)
    ]
    gradients = []
    for name, of_each_class in zip(inputs, zip(*by_class, strict=True), strict=True):
        if any(gradient is None for gradient in of_each_class):
            raise ValueError(f"{name} has no say in the network's class scores")
        gradients.append(torch.stack(of_each_class, dim=1))
    return gradients
