"""Maps from attention: each against a plain loop, on a network of random weights; and what they do not take."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.timm_gap import timm_gap
from cam_lightning.cam.attention_rollout import AttentionRollout
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.class_attention import ClassAttention
from cam_lightning.cam.le_grad import LeGrad
from cam_lightning.cam.ts_cam import TsCam
from cam_lightning.functional.attention import attention
from cam_lightning.method.ts_cam import TokenSemanticHead

pytest.importorskip("timm")
CLASSES = torch.tensor([[0, 2], [1, 1]])


@cache
def built(trunk: str = "test_vit", head: str = "mean") -> TrunkNetwork:
    torch.manual_seed(0)
    network = timm_gap(3, trunk, head=head).eval()
    for name, module in network.named_modules():
        if name.endswith("attn.qkv"):
            nn.init.normal_(module.weight, std=0.2)  # type: ignore[arg-type]
    return network


def image(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def made(cam: Any, network: TrunkNetwork) -> Tensor:
    with torch.inference_mode():
        return cam(network, image(), network(image()), CLASSES.clone())


def test_class_attention_is_the_class_tokens_row() -> None:
    blocks, _ = attention(built(), image())
    for cam, block in ((ClassAttention(), 5), (ClassAttention(block=2), 2)):
        found = made(cam, built())
        for b in range(2):
            for row in range(2):
                for column in range(3):
                    heads = [float(blocks[block][b, head, 0, 1 + 3 * row + column]) for head in range(2)]
                    assert float(found[b, 1, row, column]) == pytest.approx(sum(heads) / 2, rel=1e-4)
    one = made(ClassAttention(head=1), built())
    torch.testing.assert_close(one[:, 0], blocks[5][:, 1, 0, 1:].reshape(2, 2, 3), rtol=1e-4, atol=1e-6)


def test_rollout_carries_ones_from_patch_to_class_token() -> None:
    """A patch's share in the class token: what arrives there of a one that starts at it."""
    blocks, _ = attention(built(), image())
    found, of_all = made(AttentionRollout(), built()), made(AttentionRollout(row="mean"), built())
    for b in range(2):
        for patch in range(6):
            value = [float(token == 1 + patch) for token in range(7)]
            for block in blocks:
                merged = block[b].mean(0)
                value = [0.5 * value[i] + 0.5 * sum(float(merged[i, j]) * value[j] for j in range(7)) for i in range(7)]
            assert float(found[b, 0, patch // 3, patch % 3]) == pytest.approx(value[0], rel=1e-3)
            assert float(of_all[b, 0, patch // 3, patch % 3]) == pytest.approx(sum(value[1:]) / 6, rel=1e-3)
    assert torch.equal(found[:, 0], found[:, 1])
    assert float((made(AttentionRollout(discard=0.5), built()) - found).abs().max()) > 1e-3


@pytest.mark.parametrize("head", ["mean", "published"])
def test_le_grad_is_what_a_little_more_attention_adds(head: str) -> None:
    """Value by value of the last two blocks' attention, in float64, with the head written out."""
    network = built(head=head)
    found = made(LeGrad(blocks=2), network)
    network.double()
    model: Any = network.trunk.model
    weight, bias = network.get_submodule("classifier").parameters()
    step, expected = 1e-5, torch.zeros(2, 2, 6, dtype=torch.float64)
    for block in (4, 5):
        for h in range(2):
            for i in range(7):
                for j in range(1, 7):
                    with torch.no_grad():
                        more, less = (
                            _scores(model, block, (h, i, j, sign * step), head) @ weight.T + bias for sign in (1, -1)
                        )
                    slope_BT = ((more - less) / (2 * step)).gather(1, CLASSES)
                    expected[:, :, j - 1] += slope_BT.clamp(min=0) / (2 * 2 * 7)
    network.float()
    torch.testing.assert_close(found, expected.view(2, 2, 2, 3).float(), rtol=1e-3, atol=1e-5 * float(expected.max()))
    assert float(expected.min(2).values.max()) < float(expected.max())


def _scores(model: Any, block: int, change: tuple[int, int, int, float], head: str) -> Tensor:
    """What the linear layer reads behind a block, one value of whose attention is changed; timm's plain attention."""
    h, i, j, step = change
    attn, seen = model.blocks[block].attn, []

    def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, h, i, j] += step
        return output

    was, attn.fused_attn = attn.fused_attn, False
    handles = [
        attn.attn_drop.register_forward_hook(add),
        model.blocks[block].register_forward_hook(lambda module, inputs, output: seen.append(output)),
    ]
    try:
        model.forward_features(image().double())
    finally:
        attn.fused_attn = was
        for handle in handles:
            handle.remove()
    tokens = model.norm(seen[0])
    return tokens[:, 0] if head == "published" else tokens[:, 1:].mean(1)


def test_le_grad_wants_all_blocks_and_no_more_behind_them() -> None:
    whole, last = made(LeGrad(), built()), made(LeGrad(blocks=1), built())
    assert float((whole - last).abs().max()) > 0
    assert torch.equal(made(LeGrad(blocks=6), built()), whole)
    with pytest.raises(ValueError, match=r"cam\.blocks is how many blocks.*got 0"):
        LeGrad(blocks=0)
    built().trunk.register_forward_hook(lambda module, inputs, output: output + 1)
    try:
        with pytest.raises(ValueError, match="has other layers there"):
            made(LeGrad(), built())
    finally:
        built().trunk._forward_hooks.clear()


def test_ts_cam_is_semantic_map_times_attention() -> None:
    network = TokenSemanticHead(built()).eval()
    blocks, _ = attention(network, image())
    found = made(TsCam(), network)
    features = network.forward_features(image()).detach()
    weight, bias = (value.detach() for value in network.semantic.parameters())
    for b, t, row, column in ((0, 0, 0, 0), (0, 1, 1, 2), (1, 0, 1, 1)):
        class_ = int(CLASSES[b, t])
        semantic = float(bias[class_])
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                y, x = row + dy, column + dx
                if 0 <= y < 2 and 0 <= x < 3:
                    semantic += float(weight[class_, :, dy + 1, dx + 1] @ features[b, :, y, x])
        coupled = sum(float(block[b, h, 0, 1 + 3 * row + column]) / 2 for block in blocks for h in range(2))
        assert float(found[b, t, row, column]) == pytest.approx(semantic * coupled, rel=1e-3, abs=1e-5)
    output = network(image())
    semantic_BThw = ClassActivationMap()(network, image(), output, CLASSES)
    torch.testing.assert_close(semantic_BThw.mean((2, 3)), output.logits_BC.detach().gather(1, CLASSES))
    few = network.select_classes([2, 0])
    torch.testing.assert_close(few(image()).logits_BC, output.logits_BC[:, [2, 0]])


@pytest.mark.parametrize(
    ("make", "trunk", "said"),
    [
        (ClassAttention, "test_vit2", "this network has none; cam=le_grad"),
        (AttentionRollout, "test_vit2", "this network has none; cam=le_grad"),
        (TsCam, "test_vit2", "this network has none; cam=le_grad"),
        (LeGrad, "resnet18", "this network has no such blocks"),
        (lambda: ClassAttention(block=6), "test_vit", r"cam\.block=6: this network has 6 blocks"),
        (lambda: ClassAttention(head=2), "test_vit", r"cam\.head=2: this block has 2 heads"),
    ],
)
def test_what_a_network_has_not_is_said_before_any_image(make: Any, trunk: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make().check(built(trunk), (32, 48))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": "sum"}, "cam.heads is one of mean, max, min; got 'sum'"),
        ({"row": "last"}, "cam.row is one of class, mean; got 'last'"),
        ({"discard": 1.0}, r"cam\.discard is a share"),
    ],
)
def test_options_of_rollout_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AttentionRollout(**options)


def test_a_token_semantic_head_wants_a_map() -> None:
    with pytest.raises(ValueError, match=r"backbone\.head=mean"):
        TokenSemanticHead(built(head="published"))
