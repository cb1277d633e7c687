"""Tokens as maps, cell by cell, and back; and what is no map."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.functional.token_map import TokenLayout, prefix_tokens, token_map, with_token_map

LAYOUT = TokenLayout((32, 48), (2, 3), prefix=2, images=2)


def test_tokens_lie_row_by_row_behind_their_prefix() -> None:
    tokens = torch.randn(2, 8, 5)
    found = token_map(tokens, LAYOUT)
    assert found is not None
    assert found.shape == (2, 5, 2, 3)
    for row in range(2):
        for column in range(3):
            assert torch.equal(found[:, :, row, column], tokens[:, 2 + 3 * row + column])
    assert torch.equal(prefix_tokens(tokens, LAYOUT), tokens[:, :2])
    without = token_map(tokens[:, 2:], LAYOUT)
    assert without is not None
    assert torch.equal(without, found)


def test_maps_are_told_apart_by_the_images_proportions() -> None:
    channels_last, channels_first = torch.randn(2, 4, 6, 7), torch.randn(2, 7, 4, 6)
    found = token_map(channels_last, LAYOUT)
    assert found is not None
    assert torch.equal(found, channels_last.permute(0, 3, 1, 2))
    assert token_map(channels_first, LAYOUT) is channels_first


@pytest.mark.parametrize(
    "shape",
    [(2, 9, 5), (2, 7, 5), (2, 3, 8, 8), (2, 3, 8, 5), (8, 6, 5), (2, 5), (2, 6, 4, 7)],
    ids=["another token", "half a prefix", "attention", "heads", "windows", "a row", "another way around"],
)
def test_what_lies_otherwise_is_no_map(shape: tuple[int, ...]) -> None:
    assert token_map(torch.zeros(shape), LAYOUT) is None


def test_without_a_layout_maps_are_as_they_come() -> None:
    features = torch.randn(2, 7, 4, 6)
    assert token_map(features, None) is features
    assert token_map(torch.zeros(2, 8, 5), None) is None


@pytest.mark.parametrize("shape", [(2, 8, 5), (2, 6, 5), (2, 4, 6, 5), (2, 5, 4, 6)])
def test_a_map_goes_back_to_where_it_came_from(shape: tuple[int, ...]) -> None:
    output = torch.randn(shape)
    found = token_map(output, LAYOUT)
    assert found is not None
    replaced = with_token_map(output, 2 * found, LAYOUT)
    assert replaced.shape == output.shape
    prefix = 2 if shape[1] == 8 else 0
    assert torch.equal(replaced[:, prefix:], 2 * output[:, prefix:])
    assert torch.equal(replaced[:, :prefix], output[:, :prefix])
    with pytest.raises(ValueError, match="has no place in an output"):
        with_token_map(output, found[:, :, :1], LAYOUT)
