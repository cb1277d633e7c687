"""Inception-v3 (Szegedy et al. 2016) cut and extended as the paper does with GoogLeNet; beyond the paper."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from itertools import takewhile

from torch import nn
from torchvision.models import Inception3, Inception_V3_Weights

from cam_lightning.backbone.layers import cam_conv, cam_fc, kaiming_
from cam_lightning.backbone.network import CENTERED, GapNetwork, PublishedWeights
from cam_lightning.backbone.pooling import Pool
from cam_lightning.backbone.weights import load_weights, read_torchvision


def inception_v3_gap(
    num_classes: int, pool: Pool = "average", weights: str = "none", new_head: bool = True
) -> GapNetwork:
    """Inception-v3 through Mixed_6e, CAM_conv, pooling, CAM_fc: a 12×12 map at 224, 17×17 at 299.

    `weights`: `none`, `imagenet` or a file. `new_head=False` insists that the weights cover every layer.
    Raises ValueError for an unknown pool and for weights that do not fit. The published weights expect
    pixels in −1..1, which is how this network's images come.
    """
    # The slow initialisation, the auxiliary head and the input transform are all off, explicitly.
    published = Inception3(num_classes=1, aux_logits=False, transform_input=False, init_weights=False)
    kaiming_(published.modules())
    layers = takewhile(lambda item: not item[0].startswith("Mixed_7"), published.named_children())
    trunk = nn.Sequential(OrderedDict(layers))
    trunk.add_module("cam_conv", cam_conv(768, bias=1.0))
    trunk.add_module("cam_relu", nn.ReLU(inplace=True))
    network = GapNetwork(
        trunk,
        cam_fc(1024, num_classes),
        pool=pool,
        normalization=CENTERED,
        min_size=43,
        # The published linear layer reads Mixed_7c, which is cut off: it stays behind.
        published=PublishedWeights({"": "trunk."}, partial(read_torchvision, Inception_V3_Weights.IMAGENET1K_V1)),
    )
    load_weights(network, weights, new_head)
    return network
