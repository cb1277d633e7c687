"""Attention as a plain loop has it, kept from fused kernels too; and every switch and hook as it was."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.timm_gap import timm_gap
from cam_lightning.functional.attention import attention, attention_kept, on_the_grid
from cam_lightning.functional.attention_rollout import attention_rollout

pytest.importorskip("timm")


@cache
def built() -> TrunkNetwork:
    torch.manual_seed(0)
    network = timm_gap(3, "test_vit").eval()
    for block in network.trunk.model.blocks:  # type: ignore[union-attr]
        nn.init.normal_(block.attn.qkv.weight, std=0.2)  # where it would look at everything alike
    return network


def image() -> Tensor:
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def switches(network: nn.Module) -> list[Any]:
    return [
        (getattr(module, "fused_attn", None), len(module._forward_hooks), module.training)
        for module in network.modules()
    ]


@torch.no_grad()
def test_it_is_the_softmax_of_queries_times_keys() -> None:
    network = built()
    model: Any = network.trunk.model
    kept, layout = attention(network, image())
    assert len(kept) == 6
    assert layout.grid == (2, 3)
    block = model.blocks[3]
    tokens = block.norm1(model.forward_intermediates(image(), indices=[2], output_fmt="NLC", return_prefix_tokens=True,
                                                     intermediates_only=True)[0][0])  # fmt: skip
    prefix = model.forward_intermediates(image(), indices=[2], output_fmt="NLC", return_prefix_tokens=True,
                                         intermediates_only=True)[0][1]  # fmt: skip
    tokens = torch.cat([block.norm1(prefix), tokens], dim=1)
    weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
    for b in range(2):
        for head in range(2):
            rows = slice(32 * head, 32 * head + 32)
            for i in (0, 4):
                query = weight[rows] @ tokens[b, i] + bias[rows]
                scores = []
                for j in range(7):
                    key = weight[64:128][rows] @ tokens[b, j] + bias[64:128][rows]
                    scores.append(float(query @ key) / math.sqrt(32))
                whole = sum(math.exp(score) for score in scores)
                for j in range(7):
                    assert float(kept[3][b, head, i, j]) == pytest.approx(math.exp(scores[j]) / whole, rel=1e-3)
    assert float(kept[3].std()) > 0.05, "it looks here and there"
    assert torch.equal(on_the_grid(kept[3][:, 0, 0], layout)[1, 1], kept[3][1, 0, 0, 4:7])


@pytest.mark.parametrize("fused", [True, False])
def test_everything_is_as_it_was_also_after_an_error(fused: bool) -> None:
    network = built()
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused  # type: ignore[assignment]
    network.train()
    before = switches(network)
    assert len(attention(network, image())[0]) == 6
    assert switches(network) == before
    network.forward_head = lambda features: 1 / 0  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(ZeroDivisionError), attention_kept(network):
            network(image())
    finally:
        del network.forward_head
    assert switches(network) == before
    network.eval()


@torch.no_grad()
def test_what_the_network_says_is_the_same_meanwhile() -> None:
    network = built()
    expected = network(image()).logits_BC
    with attention_kept(network):
        torch.testing.assert_close(network(image()).logits_BC, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trunk", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_what_has_no_attention_of_all_tokens_is_named(trunk: str) -> None:
    network = timm_gap(3, trunk)
    with pytest.raises(ValueError, match="this network has no such blocks"):
        attention(network, torch.zeros(1, 3, 64, 96))


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.6])
def test_rollout_is_the_product_of_the_blocks(heads: str, discard: float) -> None:
    generator = torch.Generator().manual_seed(0)
    blocks = [torch.rand(2, 3, 5, 5, generator=generator).softmax(3) for _ in range(3)]
    found = attention_rollout(blocks, heads, discard)
    merge = {"mean": lambda values: sum(values) / len(values), "max": max, "min": min}[heads]
    for b in range(2):
        rolled = [[float(i == j) for j in range(5)] for i in range(5)]
        for block in blocks:
            merged = [[merge([float(block[b, h, i, j]) for h in range(3)]) for j in range(5)] for i in range(5)]
            least = sorted(value for row in merged for value in row)[: int(25 * discard)]
            share = []
            for i in range(5):
                row = [0.0 if value in least and (i, j) != (0, 0) else value for j, value in enumerate(merged[i])]
                row = [(value + (i == j)) / 2 for j, value in enumerate(row)]
                share.append([value / sum(row) for value in row])
            rolled = [[sum(share[i][k] * rolled[k][j] for k in range(5)) for j in range(5)] for i in range(5)]
        torch.testing.assert_close(found[b], torch.tensor(rolled), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sum(2), torch.ones(2, 5))
