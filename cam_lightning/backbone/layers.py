"""The layers that several of the paper's networks add, and Caffe's initialisation for them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from cam_lightning.functional.local_response_norm import local_response_norm


def cam_conv(in_channels: int, bias: float, units: int = 1024) -> nn.Conv2d:
    """The convolution before the pooling, "CAM_conv": 3×3, 1024 units in 2 groups, weights N(0, 0.01).

    `bias` is what the bias starts at: 1 for GoogLeNet, 0 for VGG. Section 3.1 of the paper, and the
    authors' released network definitions.
    """
    return gaussian_conv(in_channels, units, kernel_size=3, padding=1, groups=2, bias_value=bias)


def gaussian_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    std: float = 0.01,
    bias_value: float = 0.0,
) -> nn.Conv2d:
    """A convolution with weights from N(0, `std`) and one constant in its bias: Caffe's "gaussian" filler."""
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups)
    nn.init.normal_(layer.weight, std=std)
    nn.init.constant_(bias_of(layer), bias_value)
    return layer


def cam_fc(in_features: int, num_classes: int, std: float | None = None) -> nn.Linear:
    """The linear layer whose rows weigh the maps, "CAM_fc": Xavier weights, or N(0, `std`); zero bias.

    Xavier is Caffe's: uniform with variance 1 / `in_features`. Raises ValueError without a class.
    """
    layer = gaussian_linear(in_features, num_classes, std=std or 0.0)
    if std is None:
        xavier_(layer.weight)
    return layer


def gaussian_linear(in_features: int, out_features: int, *, std: float, bias_value: float = 0.0) -> nn.Linear:
    """A linear layer with weights from N(0, `std`) and one constant in its bias.

    Raises ValueError without an output.
    """
    _check_outputs(out_features)
    layer = nn.Linear(in_features, out_features)
    nn.init.normal_(layer.weight, std=std)
    nn.init.constant_(layer.bias, bias_value)
    return layer


def class_conv(in_channels: int, num_classes: int) -> nn.Conv2d:
    """A 1×1 convolution with one map per class, from N(0, 0.01). Raises ValueError without a class."""
    _check_outputs(num_classes)
    return gaussian_conv(in_channels, num_classes, kernel_size=1)


class LocalResponseNorm(nn.Module):
    """Caffe's normalisation across 5 neighbouring channels: x / (1 + 1e-4 · mean of their squares)^0.75.

    It equals `nn.LocalResponseNorm(5)`, which pools in three dimensions, and so is slow, loses channels-last and has no
    deterministic backward on a GPU. See `functional/local_response_norm.py`.
    """

    def forward(self, x_BKhw: Tensor) -> Tensor:
        return local_response_norm(x_BKhw)


def xavier_(weight: Tensor) -> Tensor:
    """Fills a weight as Caffe's "xavier" does: uniform, variance 1 / fan-in, so fan-out has no say."""
    return nn.init.kaiming_uniform_(weight, nonlinearity="linear")


def kaiming_(layers: Iterable[nn.Module]) -> None:
    """Starts the convolutions among `layers` as networks of ReLUs need it (He et al. 2015), biases at 0.

    In place of torchvision's own for GoogLeNet and Inception, whose truncated normals are slow to draw.
    """
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _check_outputs(count: int) -> None:
    if count < 1:
        raise ValueError(f"a network needs at least one class, got {count}")


def bias_of(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """The layer's bias, for layers that are known to have one."""
    assert layer.bias is not None
    return layer.bias
