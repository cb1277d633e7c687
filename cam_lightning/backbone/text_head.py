"""Zero-shot classes: the head's rows are embeddings of text, the features lie in the space that text shares."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import GapNetwork
from cam_lightning.backbone.text_rows import TextRows
from cam_lightning.backbone.weights import load_weights
from cam_lightning.contracts import ClassifierOutput

_SMALLEST_NORM = 1e-12


class TextHead(GapNetwork):
    """A CLIP tower's patch tokens, projected into the space of text, against one row of text per class.

    Every patch token has passed the tower's last norm and its own projection, as MaskCLIP's do (Zhou et al. 2022,
    section 3.2), but with the last attention as it is. With f_i such a token, f their mean and t_c the row of class c,
    of unit length, the class's raw score is s_c = scale · cos(f, t_c). The features are f_i / |f|, the classifier's
    rows scale · t_c and its bias 0. So the house's map of a class is scale · (f_i · t_c) / |f|, and its mean over the
    cells is s_c. CLIP itself was trained on its class token and not on f: `TextTokenHead` classifies as published.

    Without background rows the logits are s_c. With them (prompts of what is no class) the logits are the log-softmax
    of the scores over classes and background rows, restricted to the classes: a background row is never predicted. It
    moves all logits of an image by one number, so neither the classes' ranking, nor their shares among themselves, nor
    the class activation map depends on it. What does are maps from gradients, in which background and other classes
    compete with the class (CLIP-ES, Lin et al. 2023: the same up to a positive factor per image and class).
    `select_classes` leaves the other classes in that softmax, so that a logit is the same number as before.
    """

    output_names: list[str]

    def __init__(self, trunk: nn.Module, projection: nn.Linear, text: TextRows, **rest: Any) -> None:
        num_classes, K = text.text_CK.shape
        super().__init__(trunk, nn.Linear(K, num_classes), **rest)
        self.map_unit = "scaled cosine per cell (mean over the cells = scale × cosine)"
        self.projection = projection
        self.output_names = list(text.names)
        self.register_buffer("rival_RK", torch.empty(len(text.background_RK), K), persistent=False)
        self.take_rows(text)

    @torch.no_grad()
    def take_rows(self, text: TextRows) -> None:
        """Makes the text's rows the classifier's, whatever was loaded there."""
        self.classifier.weight.copy_(text.scale * text.text_CK)
        self.classifier.bias.zero_()
        self.get_buffer("rival_RK").copy_(text.scale * text.background_RK)

    def features(self, activations_BKhw: Tensor) -> Tensor:
        projected_BKhw = self.projection(activations_BKhw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        norm_B1 = projected_BKhw.mean((2, 3)).norm(dim=1, keepdim=True)
        return projected_BKhw / norm_B1.clamp_min(_SMALLEST_NORM)[:, :, None, None]

    def logits(self, features_BKhw: Tensor) -> Tensor:
        score_BC = super().logits(features_BKhw)
        rival_RK = self.get_buffer("rival_RK")
        if not len(rival_RK):
            return score_BC
        rival_BR = features_BKhw.mean((2, 3)) @ rival_RK.T
        return torch.cat([score_BC, rival_BR], dim=1).log_softmax(dim=1)[:, : score_BC.shape[1]]

    def select_classes(self, indices: list[int]) -> Self:
        selected = super().select_classes(indices)
        selected.output_names = [self.output_names[index] for index in indices]
        rival_RK = self.get_buffer("rival_RK")
        if len(rival_RK):
            others = [index for index in range(self.num_classes) if index not in set(indices)]
            # A shallow copy's buffers are its own, so `self` keeps its rivals.
            selected.rival_RK = torch.cat([rival_RK, self.classifier.weight.detach()[others]])
        return selected


class TextTokenHead(TextHead):
    """As published: the class token, projected, in place of the mean of patches. It has no class activation map.

    `map_layer` is the layer whose map stands in for the features in maps from gradients; empty: none is known.
    """

    def __init__(self, trunk: nn.Module, projection: nn.Linear, text: TextRows, map_layer: str, **rest: Any) -> None:
        super().__init__(trunk, projection, text, **rest)
        self.map_layer = map_layer

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> None:  # type: ignore[override]
        """None: nothing says how much of a class token's score a cell is."""


def load_tower(network: TextHead, text: TextRows, weights: str) -> None:
    """Fills trunk and projection, as `load_weights` does and raises; ValueError too where it leaves one as it was."""
    load_weights(network, weights)
    random = [layer for layer in network.new_layers if layer not in network.heads]
    if random:
        raise ValueError(
            f"backbone.weights={weights} does not cover {', '.join(random)}, which would stay at random values: "
            "text is compared with the features of a trained tower"
        )
    network.take_rows(text)
    network.new_layers = ()
