"""Hide-and-Seek against a plain loop, and against what the benchmark's code hides."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from toy_batch import batch_of

from cam_lightning.method.hide_and_seek import HideAndSeek
from cam_lightning.method.schedule import constant


@pytest.fixture
def method(network: Any) -> Any:
    def make(**options: Any) -> HideAndSeek:
        return HideAndSeek(network, torch.optim.SGD, constant, learning_rate=0.1, **options)

    return make


def test_hidden_is_what_a_plain_loop_hides(method: Any) -> None:
    """The same draws, patch by patch from the top left, on an image that is not square and cut at both ends."""
    H, W, size = 10, 17, 4
    torch.manual_seed(5)
    hidden = method(patch_sizes=[size]).hidden(H, W)
    torch.manual_seed(5)
    torch.randint(1, ())
    draws = iter(torch.rand(3 * 5).tolist())
    expected = torch.zeros(H, W, dtype=torch.bool)
    for top in range(0, H, size):
        for left in range(0, W, size):
            if next(draws) < 0.5:
                for y in range(top, min(top + size, H)):
                    for x in range(left, min(left + size, W)):
                        expected[y, x] = True
    assert torch.equal(hidden, expected)
    assert 0 < int(hidden.sum()) < H * W


def test_hidden_is_what_the_benchmark_hides(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ones of 7×7, patches of 3, these draws: computed once from clovaai/wsolevaluation, method/has.py."""
    draws = torch.tensor([0.1, 0.9, 0.4, 0.7, 0.2, 0.6, 0.5, 0.8, 0.3]).view(3, 3)
    monkeypatch.setattr(torch, "rand", lambda *size: draws - 1e-6)  # it hides at 0.5 itself, which has no probability
    seen = (~method(patch_sizes=[3]).hidden(7, 7)).int()
    assert ["".join(map(str, row)) for row in seen.tolist()] == [
        "0001110",
        "0001110",
        "0001110",
        "1110001",
        "1110001",
        "1110001",
        "0001110",
    ]


def test_the_view_hides_each_image_by_itself_with_the_mean_and_nothing_else(method: Any) -> None:
    images = torch.rand(5, 3, 12, 20) + 1
    batch = batch_of(images.clone(), [0, 1, 2, 3, 4])
    torch.manual_seed(0)
    view = method(patch_sizes=[4]).view(batch)
    hidden = view.image_B3HW == 0
    assert torch.equal(batch.image_B3HW, images), "the batch itself stays"
    assert torch.equal(hidden[:, 0], hidden[:, 2]), "all colours"
    assert torch.equal(view.image_B3HW[~hidden], images[~hidden])
    assert not torch.equal(hidden[0], hidden[1])
    assert view.target_BC is None
    torch.manual_seed(0)
    assert torch.equal(method(patch_sizes=[4]).view(batch).image_B3HW, view.image_B3HW)


def test_rates_and_sizes_are_drawn_as_told(method: Any) -> None:
    torch.manual_seed(0)
    hider = method(patch_sizes=[0, 8], drop_rate=0.25)
    shares = [float(hider.hidden(64, 64).float().mean()) for _ in range(200)]
    counts = Counter(share == 0 for share in shares)
    assert 70 < counts[True] < 130, "0 hides nothing, for half of the images"
    hiding = [share for share in shares if share > 0]
    assert sum(hiding) / len(hiding) == pytest.approx(0.25, abs=0.01)
    assert not method(drop_rate=0).hidden(60, 50).any()
    assert method(patch_sizes=[16], drop_rate=1).hidden(60, 50).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"patch_sizes": []}, "at least one size"), ({"patch_sizes": [-4]}, r"got \[-4\]"), ({"drop_rate": 1.5}, "1.5")],
)
def test_other_options_are_errors(method: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(**wrong)
