"""The sums that maps make of a layer's activations and gradients, each against a plain loop over numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cam_lightning.functional.bag_cam import bag_cam
from cam_lightning.functional.eigen_cam import eigen_cam
from cam_lightning.functional.eigen_grad_cam import eigen_grad_cam
from cam_lightning.functional.grad_cam import grad_cam
from cam_lightning.functional.grad_cam_elementwise import grad_cam_elementwise
from cam_lightning.functional.grad_cam_plus_plus import grad_cam_plus_plus
from cam_lightning.functional.hires_cam import hires_cam
from cam_lightning.functional.layer_cam import fused, layer_cam
from cam_lightning.functional.pc1 import pc1
from cam_lightning.functional.principal_component import first_component
from cam_lightning.functional.refine_cam import refine_cam
from cam_lightning.functional.smooth_grad_cam_plus_plus import smooth_grad_cam_plus_plus
from cam_lightning.functional.xgrad_cam import xgrad_cam

B, T, K, H, W = 2, 3, 4, 3, 5
GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(B, K, H, W, generator=GENERATOR).relu()
FEATURES[0, 1] = 0
"""As behind a ReLU: none negative, many 0, and one unit that is off."""
GRADIENT = torch.randn(B, T, K, H, W, generator=GENERATOR)
SCORE = torch.tensor([[2.0, -3.0, 0.5], [1.0, 4.0, -0.25]])
CELLS = [(i, j) for i in range(H) for j in range(W)]


def plus_plus(A: Any, g: Any, score: float) -> Any:
    """Equation 19 and 7 as they stand."""
    total = np.zeros((H, W))
    for k in range(K):
        weight = 0.0
        for i, j in CELLS:
            alpha = g[k, i, j] ** 2 / (2 * g[k, i, j] ** 2 + sum(A[k, a, b] for a, b in CELLS) * g[k, i, j] ** 3)
            weight += alpha * max(g[k, i, j], 0.0)
        total += weight * A[k]
    return total


def x_grad(A: Any, g: Any, score: float) -> Any:
    total = np.zeros((H, W))
    for k in range(K):
        active = sum(A[k, i, j] for i, j in CELLS)
        if active:
            total += sum(A[k, i, j] / active * g[k, i, j] for i, j in CELLS) * A[k]
    return total


def cell_by_cell(term: Callable[[float, float], float]) -> Callable[[Any, Any, float], Any]:
    def total(A: Any, g: Any, score: float) -> Any:
        return np.array([[sum(term(A[k, i, j], g[k, i, j]) for k in range(K)) for j in range(W)] for i in range(H)])

    return total


def bag(A: Any, g: Any, score: float) -> Any:
    total = np.zeros((H, W))
    for k in range(K):
        share = [[A[k, i, j] * g[k, i, j] / abs(score) for j in range(W)] for i in range(H)]
        mean = sum(map(sum, share)) / (H * W)
        for i, j in CELLS:
            total[i, j] += max((1 + mean) * share[i][j], 0.0)
    return total


ORACLES: dict[str, tuple[Callable[..., Tensor], Callable[[Any, Any, float], Any]]] = {
    "grad_cam_plus_plus": (lambda f, g, s: grad_cam_plus_plus(f, g), plus_plus),
    "smooth_grad_cam_plus_plus of one": (lambda f, g, s: smooth_grad_cam_plus_plus(f, g[None]), plus_plus),
    "xgrad_cam": (lambda f, g, s: xgrad_cam(f, g), x_grad),
    "layer_cam": (lambda f, g, s: layer_cam(f, g), cell_by_cell(lambda a, g: max(g, 0.0) * a)),
    "hires_cam": (lambda f, g, s: hires_cam(f, g), cell_by_cell(lambda a, g: a * g)),
    "grad_cam_elementwise": (lambda f, g, s: grad_cam_elementwise(f, g), cell_by_cell(lambda a, g: max(a * g, 0.0))),
    "bag_cam": (bag_cam, bag),
}


@pytest.mark.parametrize("name", ORACLES)
def test_it_equals_a_plain_loop(name: str) -> None:
    make, oracle = ORACLES[name]
    maps = make(FEATURES, GRADIENT, SCORE)
    assert maps.shape == (B, T, H, W)
    for b in range(B):
        for t in range(T):
            expected = oracle(FEATURES[b].double().numpy(), GRADIENT[b, t].double().numpy(), float(SCORE[b, t]))
            assert np.abs(expected).max() > 0
            np.testing.assert_allclose(maps[b, t].numpy(), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("make", [grad_cam_plus_plus, xgrad_cam, layer_cam, hires_cam, grad_cam_elementwise, pc1,
                                  eigen_grad_cam, grad_cam])  # fmt: skip
def test_shapes_that_do_not_fit_are_named(make: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match=rf"{make.__name__} needs .* got \(1, 4, 2, 5\) and \(1, 3, 4, 5, 2\)"):
        make(torch.zeros(1, 4, 2, 5), torch.zeros(1, 3, 4, 5, 2))


@pytest.mark.parametrize("make", [grad_cam_plus_plus, xgrad_cam, layer_cam, hires_cam, grad_cam_elementwise, pc1,
                                  eigen_grad_cam])  # fmt: skip
@pytest.mark.parametrize("scale", [1e-25, 0.0])
def test_small_gradients_and_none_stay_finite(make: Callable[..., Tensor], scale: float) -> None:
    """A square of 1e-25 is 0 in float32."""
    maps = make(FEATURES, GRADIENT * scale)
    assert maps.isfinite().all()
    assert (maps.flatten(2).amax(2) > maps.flatten(2).amin(2)).all() == (scale > 0)


def test_smooth_grad_cam_plus_plus_averages_derivatives() -> None:
    gradients = torch.stack([GRADIENT, GRADIENT.flip(0), -GRADIENT])
    maps = smooth_grad_cam_plus_plus(FEATURES, gradients)
    for b in range(B):
        for t in range(T):
            expected = np.zeros((H, W))
            for k in range(K):
                weight = 0.0
                for i, j in CELLS:
                    d1, d2, d3 = (sum(float(g[b, t, k, i, j]) ** p for g in gradients) / 3 for p in (1, 2, 3))
                    alpha = d2 / (2 * d2 + float(FEATURES[b, k].double().sum()) * d3)
                    weight += alpha * max(d1, 0.0)
                expected += weight * FEATURES[b, k].double().numpy()
            np.testing.assert_allclose(maps[b, t].numpy(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_bag_cam_keeps_its_direction_where_the_score_is_negative() -> None:
    torch.testing.assert_close(bag_cam(FEATURES, GRADIENT, SCORE), bag_cam(FEATURES, GRADIENT, SCORE.abs()))
    assert torch.equal(bag_cam(FEATURES, GRADIENT, SCORE * 0), torch.zeros(B, T, H, W))


# --- principal components


@pytest.mark.parametrize("units", [2, 40], ids=["fewer units than cells", "more"])
@pytest.mark.parametrize("centre", [False, True])
def test_eigen_cam_is_the_first_singular_vector(units: int, centre: bool) -> None:
    features = torch.randn(3, units, H, W, generator=torch.Generator().manual_seed(1)) + 0.3
    maps = eigen_cam(features, centre)
    assert maps.shape == (3, 1, H, W)
    for b in range(3):
        rows = features[b].double().flatten(1).T.numpy()
        rows = rows - rows.mean(0) * centre
        expected = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
        expected = expected * np.sign(expected[np.abs(expected).argmax()])
        np.testing.assert_allclose(maps[b, 0].flatten().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_sign_of_a_component_is_that_of_its_peak() -> None:
    values = torch.randn(5, 6, H, W, generator=torch.Generator().manual_seed(2))
    vector, size = first_component(values)
    assert torch.equal(first_component(-values)[0], vector)
    for b in range(5):
        assert vector[b].max() == vector[b].abs().max()
        assert float(vector[b].norm()) == pytest.approx(1)
        assert float(size[b]) == pytest.approx(float(torch.linalg.matrix_norm(values[b].flatten(1).double(), ord=2)))


def test_a_component_of_nothing_is_nothing_and_of_what_is_not_finite_not_finite() -> None:
    values = torch.randn(3, 4, H, W, generator=torch.Generator().manual_seed(2))
    values[0] = 0
    values[1, 2, 0, 0] = torch.nan
    vector, _ = first_component(values)
    assert torch.equal(vector[0], torch.zeros(H, W, dtype=torch.float64))
    assert vector[1].isnan().all()
    assert torch.equal(vector[2], first_component(values[2:])[0][0])
    tiny, _ = first_component(values[2:] * 1e-30)
    torch.testing.assert_close(tiny[0], vector[2])


@pytest.mark.parametrize("centre", [False, True])
def test_eigen_grad_cam_speaks_for_the_class(centre: bool) -> None:
    maps = eigen_grad_cam(FEATURES, GRADIENT, centre)
    evidence = hires_cam(FEATURES, GRADIENT)
    assert ((maps * evidence).sum((2, 3)) > 0).all()
    torch.testing.assert_close(eigen_grad_cam(FEATURES, -GRADIENT, centre), -maps)
    for b in range(B):
        for t in range(T):
            rows = (FEATURES[b] * GRADIENT[b, t]).double().flatten(1).T.numpy()
            rows = rows - rows.mean(0) * centre
            expected = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
            expected = expected * np.sign(expected @ evidence[b, t].flatten().double().numpy())
            np.testing.assert_allclose(maps[b, t].flatten().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_pc1_finds_the_object_and_not_the_background() -> None:
    """Half of the units light up on a rectangle off the frame, half around it; signs of weights turn units around."""
    h, w = 7, 9
    is_object = torch.zeros(h, w)
    is_object[2:5, 3:6] = 1
    noise = 0.05 * torch.rand(1, 12, h, w, generator=torch.Generator().manual_seed(3))
    on_object = torch.tensor([1.0] * 5 + [0.0] * 7)[:, None, None]
    features = on_object * is_object + (1 - on_object) * (1 - is_object) + noise
    for sign in (1.0, -1.0):
        gradient = torch.full((1, 2, 12, h, w), sign)
        maps = pc1(features, gradient)
        assert maps.shape == (1, 2, h, w)
        assert torch.equal(maps[0, 0], maps[0, 1])
        assert float(maps[0, 0][is_object > 0].min()) > float(maps[0, 0][is_object == 0].max())


def test_pc1_equals_the_released_steps() -> None:
    """But for its frame: weighed, each unit to 0..1, centred, first axis over its largest, turned by the frame."""
    features = torch.rand(1, 6, H, W, generator=torch.Generator().manual_seed(4))
    weight = torch.tensor([0.5, -2.0, 1.0, 3.0, -0.1, 0.2])
    gradient = weight[:, None, None].expand(1, 1, 6, H, W)
    units = (features[0] * weight[:, None, None]).double().flatten(1).numpy()
    units = (units - units.min(1, keepdims=True)) / (units.max(1) - units.min(1))[:, None]
    axis = np.linalg.svd(units - units.mean(0), full_matrices=False)[2][0].reshape(H, W)
    axis = axis / axis.flatten()[np.abs(axis).argmax()]
    frame = [(i, j) for i, j in CELLS if i in (0, H - 1) or j in (0, W - 1)]
    if sum(axis[i, j] > axis.mean() for i, j in frame) > len(frame) / 2:
        axis = 1 - axis
    np.testing.assert_allclose(pc1(features, gradient)[0, 0].numpy(), axis, rtol=1e-5, atol=1e-6)


# --- several layers


def test_layer_cams_are_fused_by_the_largest_share() -> None:
    shallow, deep = torch.rand(1, 1, 4, 6), torch.rand(1, 1, 2, 3) * 9
    shallow[0, 0, 0, 0] = -5
    found = fused([shallow, deep], gamma=2.0)
    assert found.shape == (1, 1, 4, 6)
    share = torch.tanh(2 * shallow.clamp(min=0) / shallow.max())
    large = torch.nn.functional.interpolate(deep / deep.max(), (4, 6), mode="bilinear")
    torch.testing.assert_close(found, torch.where(share > large, share, large))
    assert torch.equal(fused([shallow * 0, deep * 0], 2.0), torch.zeros(1, 1, 4, 6))


def test_refined_maps_are_multiplied() -> None:
    generator = torch.Generator().manual_seed(5)
    shallow, deep = torch.randn(2, 1, 4, 6, generator=generator), torch.rand(2, 1, 2, 3, generator=generator) * 9 + 1
    found = refine_cam([shallow, deep])
    for b in range(2):
        fine, coarse = shallow[b : b + 1].clamp(min=0), deep[b : b + 1]
        coarse = (coarse - coarse.min()) / (coarse.max() - coarse.min())
        coarse = torch.nn.functional.interpolate(coarse, (4, 6), mode="bilinear")
        torch.testing.assert_close(found[b : b + 1], fine / fine.max() * coarse)
    assert torch.equal(refine_cam([shallow, deep * 0 + 1]), torch.zeros(2, 1, 4, 6))
