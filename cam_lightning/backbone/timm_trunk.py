"""timm's models as trunks: a map of features from convolutions as it comes, from tokens laid out on their grid."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cam_lightning.functional.token_map import TokenLayout


class MapTrunk(nn.Module):
    """A timm model up to its last map (B, K, h, w)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_B3HW: Tensor) -> Tensor:
        return self.model.forward_features(x_B3HW)  # type: ignore[operator]

    def pooled(self, features_BKhw: Tensor) -> Tensor:
        """What the model's own classifier reads, (B, D)."""
        return self.model.forward_head(features_BKhw, pre_logits=True)  # type: ignore[operator]


class TokenTrunk(nn.Module):
    """A timm model of tokens up to the map (B, K, h, w) of its patch tokens, by timm's `forward_intermediates`.

    Every token has passed the model's last norm, also where the model itself averages first. Class, distillation and
    register tokens are left out of the map. With `whole=True` it ends where the model's own classifier reads instead,
    (B, K, 1, 1). Raises ValueError, beforehand, for images whose sides are no multiples of the patches, and for those
    of another size than `size`, which the model was built for, where it takes no other.
    """

    def __init__(self, model: nn.Module, name: str, size: tuple[int, int], whole: bool = False) -> None:
        super().__init__()
        self.model = model
        self.name = name
        self.built_for = size
        self.whole = whole
        self.multiple = 1
        self.only_size: tuple[int, int] | None = None
        shadow = copy.deepcopy(self).eval().to("meta")
        image = torch.zeros(1, 3, *size, device="meta")
        native_BKhw = shadow._map(image)
        self.channels = int(native_BKhw.shape[1])
        self.units = int(shadow.model.forward_head(shadow.model.forward_features(image), pre_logits=True).shape[1])  # type: ignore[operator]
        self.stride = math.ceil(size[0] / native_BKhw.shape[2])
        takes_others = _works(shadow, (2 * self.stride, 3 * self.stride))
        self.only_size = None if takes_others else size
        self.multiple = 1 if not takes_others or _works(shadow, (2 * self.stride + 1, 3 * self.stride)) else self.stride
        self.min_size = min(size) if self.only_size else self._smallest_side(shadow)

    def _smallest_side(self, shadow: TokenTrunk) -> int:
        return next(side for side in (self.stride, 2 * self.stride) if _works(shadow, (side, side + self.stride)))

    def forward(self, x_B3HW: Tensor) -> Tensor:
        self._require_fitting(x_B3HW.shape[2], x_B3HW.shape[3])
        if self.whole:
            pooled_BD = self.model.forward_head(self.model.forward_features(x_B3HW), pre_logits=True)  # type: ignore[operator]
            return pooled_BD[:, :, None, None]
        return self._map(x_B3HW)

    def _map(self, x_B3HW: Tensor) -> Tensor:
        (map_BKhw,) = self.model.forward_intermediates(  # type: ignore[operator]
            x_B3HW, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        norm = _norm_behind_pooling(self.model)
        return map_BKhw if norm is None else norm(map_BKhw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def pooled(self, features_BKhw: Tensor) -> Tensor:
        """What the model's own classifier reads, (B, D), of what `whole=True` gave."""
        return features_BKhw.flatten(1)

    def token_layout(self, size: tuple[int, int]) -> TokenLayout:
        """How the tokens of images of this height and width lie."""
        prefix = getattr(self.model, "num_prefix_tokens", 0) or 0
        grid = (math.ceil(size[0] / self.stride), math.ceil(size[1] / self.stride))
        return TokenLayout(size, grid, prefix, prefix > 0 and getattr(self.model, "cls_token", None) is not None)

    @property
    def blocks(self) -> list[str]:
        """The transformer's blocks by name, the first one first; none where they are no plain sequence."""
        blocks = getattr(self.model, "blocks", None)
        return [] if blocks is None else [f"model.blocks.{name}" for name, _ in blocks.named_children()]

    @property
    def last_mixed(self) -> str | None:
        """The layer, as a network names it, behind which tokens are mixed for the last time; None where it is another.

        Of the patch tokens behind it a class token sees nothing, so this is where gradients say which of them counted.
        """
        last = next((f"{name}.norm1" for name in reversed(self.blocks)), "")
        return f"trunk.{last}" if last and last in dict(self.named_modules()) else None

    def features_of_block(self, tokens_BND: Tensor, size: tuple[int, int]) -> Tensor:
        """What `forward` would give if the transformer ended with the block that gave these tokens."""
        tokens_BND = self.model.norm(tokens_BND)  # type: ignore[operator]
        if self.whole:
            return self.model.forward_head(tokens_BND, pre_logits=True)[:, :, None, None]  # type: ignore[operator]
        layout = self.token_layout(size)
        tokens_BND = tokens_BND[:, tokens_BND.shape[1] - layout.grid[0] * layout.grid[1] :]
        norm = _norm_behind_pooling(self.model)
        return (tokens_BND if norm is None else norm(tokens_BND)).unflatten(1, layout.grid).permute(0, 3, 1, 2)

    def _require_fitting(self, height: int, width: int) -> None:
        if self.only_size is not None and self.only_size != (height, width):
            raise ValueError(
                f"{self.name} takes images of {self.only_size[0]}×{self.only_size[1]} alone, as it was built, not "
                f"{height}×{width}; give that size, or build it for yours: backbone.image_size=[{height},{width}]"
            )
        if height % self.multiple or width % self.multiple:
            fitting = [max(1, round(side / self.multiple)) * self.multiple for side in (height, width)]
            raise ValueError(
                f"images of {height}×{width} do not fit {self.name}, whose cells are {self.multiple}×{self.multiple} "
                f"pixels: each side has to be a multiple of {self.multiple}, such as {fitting[0]}×{fitting[1]}"
            )


def freeze_unused(trunk: TokenTrunk) -> None:
    """Layers that take no part in what the trunk gives are left out, or, where the model insists on them, never learn.

    They would be parameters without a gradient, which DDP refuses.
    """
    shadow = copy.deepcopy(trunk).eval().to("meta")
    with torch.enable_grad():
        shadow(torch.zeros(1, 3, *trunk.built_for, device="meta")).sum().backward()
    unused = {name for name, value in shadow.model.named_parameters() if value.grad is None}
    for name, child in list(trunk.model.named_children()):
        own = {f"{name}.{key}" for key, _ in child.named_parameters()}
        if own and own <= unused:
            kept = getattr(shadow.model, name)
            setattr(shadow.model, name, nn.Identity())
            if _works(shadow, trunk.built_for):
                setattr(trunk.model, name, nn.Identity())
            else:
                setattr(shadow.model, name, kept)
    for name, parameter in trunk.model.named_parameters():
        if name in unused:
            parameter.requires_grad_(False)


def token_options(image_size: tuple[int, int] | None) -> list[Mapping[str, Any]]:
    """What timm is asked for, the best first, so that a model takes images of other sizes than its published one."""
    own: dict[str, Any] = {"num_classes": 0} | ({} if image_size is None else {"img_size": image_size})
    return [own | {"dynamic_img_size": True}, own]


def _norm_behind_pooling(model: Any) -> nn.Module | None:
    """The norm that the model has behind its pooling in place of one before it."""
    norm = getattr(model, "fc_norm", None)
    has_another = not isinstance(getattr(model, "norm", nn.Identity()), nn.Identity)
    return None if norm is None or isinstance(norm, nn.Identity) or has_another else norm


def _works(shadow: nn.Module, size: tuple[int, int]) -> bool:
    try:
        return shadow(torch.zeros(1, 3, *size, device="meta")).numel() > 0
    except (RuntimeError, AssertionError, ValueError):  # a window or a grid that does not fit
        return False
