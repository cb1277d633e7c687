"""LeGrad: which patches would raise the class's score if more attention fell on them, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cam_lightning.cam.gradient_map import GradientMap
from cam_lightning.contracts import Network
from cam_lightning.functional.attention import attention_kept, on_the_grid, require_whole
from cam_lightning.functional.differentiation import class_logits, differentiable
from cam_lightning.functional.token_map import token_layout


class LeGrad(GradientMap):
    """Maps (B, T, h, w), float32, never negative: the mean over blocks, heads and queries of ReLU(∂s/∂A).

    A is a block's attention, s the class's score if the transformer ended with that block: the network's own norm and
    head read its tokens (Bousselham et al. 2025, section 3). `blocks`: how many, from the last one back; None: all.
    Raw: the released code brings the map to 0..1 (the box's `normalise=minmax`), and for CLIP reads the mean of all
    tokens, class token included, and the cosine with a text. Costs a forward, and for every class a backward through
    each block's attention. Raises ValueError for a network without such blocks, or with more than its last norm behind
    them.
    """

    def __init__(self, blocks: int | None = None, batch_size: int = 4) -> None:
        super().__init__(batch_size)
        if blocks is not None and blocks < 1:
            raise ValueError(f"cam.blocks is how many blocks, from the last one back; got {blocks}")
        self.blocks = blocks

    def protocol(self) -> dict[str, Any]:
        """The rule in words that a results file can hold."""
        return {"blocks": "all" if self.blocks is None else self.blocks}

    def unit(self, network: Any) -> str:
        """What a raw value is, in words."""
        return "logit per attention (positive part, mean over blocks, heads and queries)"

    def maps(self, network: Any, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        layout = token_layout(network, image_B3HW)
        with differentiable(network), ExitStack() as stack:
            classes_BT = classes_BT.clone()
            kept = stack.enter_context(attention_kept(network))
            tokens = stack.enter_context(_tokens_kept(network))
            image_B3HW = image_B3HW.clone().requires_grad_()
            own_BKhw = network.forward_features(image_B3HW)
            layout = require_whole(kept, layout)
            self._require_all(network, tokens, kept, own_BKhw, layout.size)
            count = len(tokens) if self.blocks is None else min(self.blocks, len(tokens))
            total_BTN: Tensor | None = None
            for attention_BhNN, tokens_BND in zip(kept[-count:], tokens[-count:], strict=True):
                features = network.features(network.trunk.features_of_block(tokens_BND, layout.size).float())
                score_BT = class_logits(network.forward_head(features).logits_BC.float(), classes_BT)
                gradients = [
                    torch.autograd.grad(score_BT[:, t].sum(), attention_BhNN, retain_graph=True)[0]
                    for t in range(score_BT.shape[1])
                ]
                relevance_BTN = torch.stack([each.float().relu().mean((1, 2)) for each in gradients], dim=1)
                total_BTN = relevance_BTN if total_BTN is None else total_BTN + relevance_BTN
        assert total_BTN is not None
        return on_the_grid(total_BTN.flatten(0, 1) / count, layout).unflatten(0, total_BTN.shape[:2])

    def _require_all(
        self, network: Any, tokens: list[Tensor], kept: list[Tensor], own_BKhw: Tensor, size: tuple[int, int]
    ) -> None:
        """The head behind the last block has to be the network's own head."""
        if tokens and len(tokens) == len(kept):
            last_BKhw = network.features(network.trunk.features_of_block(tokens[-1], size).float())
            if last_BKhw.shape == own_BKhw.shape and torch.allclose(last_BKhw, own_BKhw, rtol=1e-3, atol=1e-3):
                return
        raise ValueError(
            f"cam=le_grad reads a transformer of plain blocks with its norm and head behind them, and "
            f"{type(network).__name__} has other layers there. Choose another map, such as cam=grad_cam"
        )


@contextmanager
def _tokens_kept(network: Network) -> Iterator[list[Tensor]]:
    """Within, a forward adds the tokens (B, N, D) that every block of the trunk gives to the list."""
    trunk: Any = getattr(network, "trunk", None)
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        kept.append(output)

    with ExitStack() as stack:
        for name in getattr(trunk, "blocks", []):
            stack.callback(trunk.get_submodule(name).register_forward_hook(keep).remove)
        yield kept
