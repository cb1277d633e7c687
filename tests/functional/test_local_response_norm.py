"""Local response normalisation and its gradient, against a plain loop and against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.functional import local_response_norm as module
from cam_lightning.functional.local_response_norm import local_response_norm

SHAPES = [(2, 7, 2, 3), (1, 1, 4, 1), (3, 2, 1, 5), (1, 192, 3, 2), (0, 8, 2, 3), (2, 64, 1, 1)]
FORMATS = [torch.channels_last, torch.contiguous_format]


def by_plain_loop(x_BKhw: Tensor) -> Tensor:
    """Channel by channel, in float64."""
    x = x_BKhw.double()
    out = torch.empty_like(x)
    for k in range(x.shape[1]):
        out[:, k] = x[:, k] / (1 + 1e-4 / 5 * (x[:, max(0, k - 2) : k + 3] ** 2).sum(1)) ** 0.75
    return out


def large(shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format) -> Tensor:
    """Activations as large as Caffe's, which see pixels of 0 to 255: small ones would hardly be changed."""
    torch.manual_seed(0)
    return (200 * torch.randn(shape, dtype=torch.float64)).to(dtype).contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_a_plain_loop(
    shape: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    x = large(shape, torch.float32, memory_format).requires_grad_()
    expected_x = x.detach().double().requires_grad_()
    got, expected = local_response_norm(x), by_plain_loop(expected_x)
    weight = torch.randn(shape)
    got.backward(weight)
    expected.backward(weight.double())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=2e-6, atol=0)
    torch.testing.assert_close(x.grad.double(), expected_x.grad, rtol=2e-5, atol=2e-6)
    if 0 not in shape:
        assert ((got - x).abs() > 1e-3 * x.abs()).any()


def test_equals_torchs_own() -> None:
    x = large((2, 9, 3, 5), torch.float32, torch.channels_last)
    torch.testing.assert_close(local_response_norm(x), nn.LocalResponseNorm(5)(x))


@pytest.mark.parametrize("memory_format", FORMATS)
def test_gradcheck(memory_format: torch.memory_format) -> None:
    x = large((2, 6, 2, 3), torch.float64, memory_format).requires_grad_()
    assert torch.autograd.gradcheck(local_response_norm, [x], eps=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_small_types_are_rounded_at_the_end_alone(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    """Squares of 300 overflow float16, and sums in bfloat16 would keep two digits."""
    x = (2 * large((2, 12, 3, 4), dtype, memory_format)).requires_grad_()
    wide = x.detach().float().requires_grad_()
    got, expected = local_response_norm(x), local_response_norm(wide)
    weight = torch.randn(x.shape).to(dtype)
    got.backward(weight)
    expected.backward(weight.float())
    assert got.dtype == dtype
    assert x.grad.dtype == dtype
    assert torch.equal(got, expected.to(dtype))
    assert torch.equal(x.grad, wide.grad.to(dtype))


@pytest.mark.parametrize("memory_format", FORMATS)
def test_keeps_the_memory_format_and_its_input(memory_format: torch.memory_format) -> None:
    x = large((2, 8, 3, 5), torch.float32, memory_format).requires_grad_()
    before = x.detach().clone()
    y = local_response_norm(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.is_contiguous(memory_format=memory_format)
    assert gradient.is_contiguous(memory_format=memory_format)
    assert torch.equal(x, before)


def test_a_gradient_may_come_in_any_layout() -> None:
    x = large((2, 8, 3, 5), torch.float32, torch.channels_last).requires_grad_()
    weight = torch.randn(2, 8, 3, 5)
    first, second, expanded = (
        torch.autograd.grad(local_response_norm(x), x, each)[0]
        for each in (weight, weight.contiguous(memory_format=torch.channels_last), torch.ones(()).expand(x.shape))
    )
    assert torch.equal(first, second)
    torch.testing.assert_close(expanded, torch.autograd.grad(by_plain_loop(x).sum(), x)[0], rtol=2e-5, atol=2e-6)


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x = large((2, 16, 5, 7), torch.float32, torch.channels_last).requires_grad_()
    weight = torch.randn(x.shape)
    results = []
    for share, threads in ((2**30, 1), (64, 2), (64, 3), (1, 5)):
        monkeypatch.setattr(module, "_SHARE", share)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        y = local_response_norm(x)
        results.append((y, torch.autograd.grad(y, x, weight)[0]))
    for y, gradient in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_the_kernel_and_torchs_operations_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other devices have the latter."""
    x = large((2, 10, 3, 4), torch.float32, torch.channels_last).requires_grad_()
    weight = torch.randn(x.shape)
    y = local_response_norm(x)
    gradient = torch.autograd.grad(y, x, weight)[0]
    monkeypatch.setattr(module, "_by_kernel", lambda *_: pytest.fail("the kernel was asked"))
    monkeypatch.setattr(module, "_suits_kernel", lambda _: False)
    other = local_response_norm(x)
    torch.testing.assert_close(other, y, rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.autograd.grad(other, x, weight)[0], gradient, rtol=1e-5, atol=1e-6)


def test_keeps_nothing_but_its_input_for_the_backward_pass() -> None:
    x = large((2, 8, 3, 5), torch.bfloat16, torch.channels_last).requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        local_response_norm(x)
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr()]


def test_shapes_alone_pass_through() -> None:
    assert local_response_norm(torch.empty(2, 8, 3, 5, device="meta")).shape == (2, 8, 3, 5)
