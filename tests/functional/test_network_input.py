"""Pixels as a network expects them, and the precision of evaluation."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.functional.network_input import full_float32, normalised


def test_pixels_are_normalised_by_channel() -> None:
    """Black, white and a quarter of white, by hand."""
    pixels_13HW = torch.tensor([0, 255, 51], dtype=torch.uint8).expand(3, 2, 3)[None]
    mean, std = (0.5, 0.2, 0.0), (0.5, 0.1, 1.0)
    expected = torch.tensor([[-1.0, 1.0, -0.6], [-2.0, 8.0, 0.0], [0.0, 1.0, 0.2]])
    result = normalised(pixels_13HW, mean, std)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected[None, :, None].expand(1, 3, 2, 3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("allow_tf32", [True, False])
def test_float32_is_full_and_everything_is_put_back(monkeypatch: pytest.MonkeyPatch, allow_tf32: bool) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allow_tf32)
    one = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (one @ one).dtype == torch.bfloat16
        with full_float32("cpu"):
            assert (one @ one).dtype == torch.float32
            assert not torch.backends.cudnn.allow_tf32
        assert (one @ one).dtype == torch.bfloat16
        with pytest.raises(ZeroDivisionError), full_float32("cpu"):
            _ = 1 / 0
    assert torch.backends.cudnn.allow_tf32 is allow_tf32
