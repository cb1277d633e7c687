"""Maps against grad-cam and torchcam, on published weights and a photo, before anything is resized: equal to 1e-4 of
their maximum. Where a peer does not follow its paper, what it does is written here as an equation, and it equals that.

The transformer has random weights. The peers see its layers' tokens through grad-cam's reshape, which drops the first.

Runs where both packages are (the extra `bench`) and the reference data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.googlenet import googlenet
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.squeezenet_gap import squeezenet_gap
from cam_lightning.backbone.timm_gap import timm_gap
from cam_lightning.cam.ablation_cam import AblationCam
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.eigen_cam import EigenCam
from cam_lightning.cam.eigen_grad_cam import EigenGradCam
from cam_lightning.cam.finer_cam import FinerCam
from cam_lightning.cam.full_grad import FullGrad
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.grad_cam_elementwise import GradCamElementwise
from cam_lightning.cam.grad_cam_plus_plus import GradCamPlusPlus
from cam_lightning.cam.hires_cam import HiResCam
from cam_lightning.cam.layer_cam import LayerCam
from cam_lightning.cam.le_grad import LeGrad
from cam_lightning.cam.refine_cam import RefineCam
from cam_lightning.cam.score_cam import ScoreCam
from cam_lightning.cam.smooth_grad_cam_plus_plus import SmoothGradCamPlusPlus
from cam_lightning.cam.xgrad_cam import XGradCam
from cam_lightning.functional.cam import class_activation_map
from cam_lightning.functional.differentiation import LayerGradients, layer_gradients, map_per_class
from cam_lightning.functional.full_grad import layer_biases
from cam_lightning.functional.network_input import normalised
from cam_lightning.functional.refine_cam import refine_cam
from cam_lightning.functional.score_cam import score_cam

pytestmark = pytest.mark.reference

grad_cam_package: Any = pytest.importorskip("pytorch_grad_cam")
torchcam: Any = pytest.importorskip("torchcam.methods")

SIZE = (160, 224)


class Case(NamedTuple):
    network: TrunkNetwork
    layer: str | None
    """None: what the head reads, which the peers call `features`."""
    features: str
    image_13HW: Tensor
    label: int
    output: Any
    reshape: Callable[[Tensor], Tensor] | None
    """From a layer's tokens to a map, for the peers."""

    @property
    def module(self) -> nn.Module:
        return self.network.get_submodule(self.layer or self.features)


class Logits(nn.Module):
    """A network as the peers expect one."""

    def __init__(self, network: TrunkNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.network(image_B3HW).logits_BC


@cache
def loaded(name: str, data: Path) -> tuple[TrunkNetwork, Tensor]:
    """A network with its published weights, where it has some, and a photo as it sees it."""
    if name == "vit":
        pytest.importorskip("timm")
        torch.manual_seed(0)
        network: TrunkNetwork = timm_gap(1000, "vit_tiny_patch16_224")
    elif name == "squeezenet":
        network = squeezenet_gap(1000, weights=str(data / "squeezenet" / "squeezenet1_0-imagenet.pth"))
    else:
        network = googlenet(1000, "caffe", weights=str(data / "weights" / "googlenet_caffe-imagenet.pth"))
    photo = sorted((data / "imagenet-photos").glob("*.JPEG"))[4]
    pixels = np.array(Image.open(photo).convert("RGB").resize(SIZE[::-1]))
    image = normalised(torch.from_numpy(pixels).permute(2, 0, 1)[None], *network.normalization)
    return network.eval(), image


PLACES = {
    "squeezenet": ("squeezenet", None, "class_conv"),
    "squeezenet, a layer": ("squeezenet", "trunk.4", "class_conv"),
    "googlenet": ("googlenet", None, "trunk"),
    "googlenet, a layer": ("googlenet", "trunk.inception4d", "trunk"),
    "vit": ("vit", None, "trunk.model.norm"),
    "vit, a block": ("vit", "trunk.model.blocks.8", "trunk.model.norm"),
    "vit, before the last attention": ("vit", "trunk.model.blocks.11.norm1", "trunk.model.norm"),
}


@pytest.fixture(params=PLACES)
def case(request: pytest.FixtureRequest, reference_data: Path) -> Iterator[Case]:
    name, layer, features = PLACES[request.param]
    network, image = loaded(name, reference_data)
    # In-place layers behind the one that is looked at spoil what the peers keep.
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    with torch.no_grad():
        output = network(image)
    reshape = None
    if name == "vit":
        transforms = pytest.importorskip("pytorch_grad_cam.utils.reshape_transforms")
        reshape = partial(transforms.vit_reshape_transform, height=SIZE[0] // 16, width=SIZE[1] // 16)
    yield Case(network, layer, features, image, int(output.logits_BC.argmax()), output, reshape)
    assert not any(module._forward_hooks for module in network.modules())


def close(found: Tensor, expected: Any) -> None:
    expected = torch.as_tensor(np.asarray(expected)).float()
    assert found.shape == expected.shape
    assert float(expected.abs().max()) > 0
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def ours(cam: Any, case: Case, *classes: int) -> Tensor:
    """One map (h, w), of the photo's best class unless another is asked for."""
    with torch.inference_mode():
        return cam(case.network, case.image_13HW, case.output, torch.tensor([[*(classes or (case.label,))]]))[0, 0]


def of_layer(case: Case) -> LayerGradients:
    (layer,) = layer_gradients(
        case.network, case.image_13HW, case.output.features_BKhw, torch.tensor([[case.label]]), [case.layer]
    )
    return layer


def theirs(kind: str, case: Case, **options: Any) -> Tensor:
    """grad-cam's map before its ReLU and its resizing."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    options |= {"model": Logits(case.network), "target_layers": [case.module], "reshape_transform": case.reshape}
    with getattr(grad_cam_package, kind)(**options) as peer:
        image = case.image_13HW.clone().requires_grad_()
        targets = [ClassifierOutputTarget(case.label)]
        scores = peer.activations_and_grads(image)
        if peer.uses_gradients:
            targets[0](scores[0]).backward()
        activations = peer.activations_and_grads.activations[0].numpy()
        gradients = peer.activations_and_grads.gradients[0].numpy() if peer.uses_gradients else None
        with redirect_stderr(StringIO()):
            return torch.from_numpy(
                np.float32(peer.get_cam_image(image, case.module, targets, activations, gradients, False))
            )[0]


def of_torchcam(kind: str, case: Case, *arguments: Any, **options: Any) -> Tensor:
    """torchcam's map, not normalised; rectified but for CAM's."""
    options["reshape_transform"] = case.reshape
    with getattr(torchcam, kind)(Logits(case.network), case.module, *arguments, **options) as peer:
        scores = peer.model(case.image_13HW.clone().requires_grad_())
        return peer(case.label, scores, normalized=False)[0][0].detach()


@pytest.mark.parametrize("case", ["vit"], indirect=True)
def test_the_transformer_is_timms_own(case: Case) -> None:
    """As `global_pool="avg"` has it, with the norm before the mean."""
    model = pytest.importorskip("timm").create_model(
        "vit_tiny_patch16_224", pretrained=False, global_pool="avg", fc_norm=False, dynamic_img_size=True
    )
    weights = {name.removeprefix("trunk.model."): value for name, value in case.network.state_dict().items()}
    model.load_state_dict({name.replace("classifier.", "head."): value for name, value in weights.items()})
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(case.image_13HW), case.output.logits_BC)


# --- without a difference

SAME_AS_GRAD_CAM: dict[str, Callable[[str | None], Any]] = {
    "GradCAM": GradCam,
    "XGradCAM": XGradCam,
    "LayerCAM": lambda layer: LayerCam([layer]),
    "HiResCAM": HiResCam,
    "GradCAMElementWise": GradCamElementwise,
}
SAME_AS_TORCHCAM: dict[str, Callable[[str | None], Any]] = {
    "GradCAM": GradCam,
    "XGradCAM": XGradCam,
    "LayerCAM": lambda layer: LayerCam([layer]),
    "FinerCAM": lambda layer: FinerCam(GradCam(layer)),
}


@pytest.mark.parametrize("kind", SAME_AS_GRAD_CAM)
def test_as_grad_cam(kind: str, case: Case) -> None:
    close(ours(SAME_AS_GRAD_CAM[kind](case.layer), case), theirs(kind, case))


@pytest.mark.parametrize("kind", SAME_AS_TORCHCAM)
def test_as_torchcam(kind: str, case: Case) -> None:
    close(ours(SAME_AS_TORCHCAM[kind](case.layer), case).relu(), of_torchcam(kind, case))


def test_the_cam_is_torchcams(case: Case) -> None:
    if case.layer is None and hasattr(case.network, "classifier"):
        close(ours(ClassActivationMap(), case), of_torchcam("CAM", case, case.network.classifier))


@pytest.mark.parametrize(("kind", "cam"), [("EigenCAM", EigenCam), ("EigenGradCAM", EigenGradCam)])
def test_principal_components_are_grad_cams_but_for_their_sign(kind: str, cam: Any, case: Case) -> None:
    """It centres, which the paper does not: cam.centre=true; its sign is as the decomposition has it."""
    expected = theirs(kind, case)
    if case.layer is None and case.network.heads == ("class_conv",) and kind == "EigenGradCAM":
        # One unit alone has a gradient.
        assert int((of_layer(case).gradient_BTKhw != 0).any(4).any(3).sum()) == 1
    found = ours(cam(case.layer, centre=True), case)
    close(found, expected * (1 if float((found * expected).sum()) > 0 else -1))


def test_ablation_cam_is_grad_cams_behind_a_relu(case: Case) -> None:
    """Elsewhere it differs: see below."""
    if case.layer == "trunk.4":
        close(ours(AblationCam(case.layer), case), theirs("AblationCAM", case))


class Block(nn.Module):
    """A block of timm's as torchcam's LeGrad expects one: its attention is PyTorch's own."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        width, heads = block.attn.proj.in_features, block.attn.num_heads
        self.block = block
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.self_attention.load_state_dict(
            {
                "in_proj_weight": block.attn.qkv.weight,
                "in_proj_bias": block.attn.qkv.bias,
                "out_proj.weight": block.attn.proj.weight,
                "out_proj.bias": block.attn.proj.bias,
            }
        )

    def forward(self, tokens_BND: Tensor, *arguments: Any, **options: Any) -> Tensor:
        normed_BND = self.block.norm1(tokens_BND)
        tokens_BND = tokens_BND + self.self_attention(normed_BND, normed_BND, normed_BND)[0]
        return tokens_BND + self.block.mlp(self.block.norm2(tokens_BND))


@pytest.mark.parametrize("case", ["vit"], indirect=True)
def test_le_grad_is_torchcams(case: Case) -> None:
    network = deepcopy(case.network)
    model, classifier = network.get_submodule("trunk.model"), network.get_submodule("classifier")
    blocks = [Block(block) for block in model.blocks.eval()]
    model.blocks = nn.Sequential(*blocks).eval()
    with torchcam.LeGrad(
        Logits(network),
        blocks[-4:],
        score_projection=lambda tokens_BND: classifier(model.norm(tokens_BND)[:, 1:].mean(1)),
        grid_shape=(SIZE[0] // 16, SIZE[1] // 16),
    ) as peer:
        scores = peer.model(case.image_13HW)
        torch.testing.assert_close(scores, case.output.logits_BC)
        expected = peer(case.label, scores, normalized=False)[0][0]
    close(ours(LeGrad(blocks=4), case), expected)


# --- where a peer differs from its paper


@pytest.mark.parametrize("case", ["vit, a block"], indirect=True)
def test_ablation_cam_of_grad_cam_takes_more_than_a_unit_where_it_is_negative(case: Case) -> None:
    """In place of 0 it sets A_k to min A − 1e7, by 1e7 less for each unit of a batch; in the first token too."""
    A = of_layer(case).features_BKhw

    def found(values_K: list[float], first: int) -> Tensor:
        """Σ_k (y − y_k) / y · A_k, y_k with unit k of the tokens from `first` on set to a value."""
        scores = []
        for units in torch.arange(len(values_K)).split(32):

            def ablate(module: Any, inputs: Any, output: Tensor, units: Tensor = units) -> Tensor:
                output = output.clone()
                for row, unit in enumerate(units.tolist()):
                    output[row, first:, unit] = values_K[unit]
                return output

            handle = case.module.register_forward_hook(ablate)
            with torch.no_grad():
                scores.append(case.network(case.image_13HW.expand(len(units), -1, -1, -1)).logits_BC[:, case.label])
            handle.remove()
        score = case.output.logits_BC[0, case.label]
        assert float(score) > 0
        return class_activation_map(A, ((score - torch.cat(scores)) / score)[None, None])[0, 0]

    tokens: list[Tensor] = []
    handle = case.module.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    with torch.no_grad():
        case.network(case.image_13HW)
    handle.remove()
    least = [float(tokens[0].min()) - 1e7 * (unit % 32 + 1) for unit in range(A.shape[1])]
    close(found(least, 0), theirs("AblationCAM", case, ablation_layer=grad_cam_package.AblationLayerVit()))
    close(ours(AblationCam(case.layer), case), found([0.0] * A.shape[1], 1))


def test_grad_cam_plus_plus_of_grad_cam_adds_to_the_denominator(case: Case) -> None:
    """α = g² / (2g² + g³ΣA + 1e-6): for an average-pooled head g² is about 1e-6 and less."""
    layer = of_layer(case)
    A, g = layer.features_BKhw.double(), layer.gradient_BTKhw[:, 0].double()
    alpha = g**2 / (2 * g**2 + g**3 * A.sum((2, 3), keepdim=True) + 1e-6)
    weight = (alpha * g.relu()).sum((2, 3))
    close((weight[..., None, None] * A).sum(1)[0].float(), theirs("GradCAMPlusPlus", case))
    # And ours is that without the addition.
    alpha = torch.where(g == 0, 0, g**2 / (2 * g**2 + g**3 * A.sum((2, 3), keepdim=True)))
    weight = (alpha * g.relu()).sum((2, 3))
    close(ours(GradCamPlusPlus(case.layer), case), (weight[..., None, None] * A).sum(1)[0].float())


def test_grad_cam_plus_plus_of_torchcam_never_divides(case: Case) -> None:
    """`alpha[mask].div_(…)` divides a copy: w = Σ g² ReLU(g)."""
    layer = of_layer(case)
    weight = layer.gradient_BTKhw.double().relu().pow(3).sum((3, 4))
    close(class_activation_map(layer.features_BKhw.double(), weight)[0, 0].relu(), of_torchcam("GradCAMpp", case))


def test_smooth_grad_cam_plus_plus_of_torchcam_sums_products(case: Case) -> None:
    """α = g² / (2g² + Σ_ab A_ab g_ab³ + 1e-8), without noise, in place of g_ij³ Σ_ab A_ab."""
    layer = of_layer(case)
    # In its own precision: where the denominator is nearly 0 the last bits of its terms are seen.
    A, g = layer.features_BKhw, layer.gradient_BTKhw[:, 0]
    alpha = g**2 / (2 * g**2 + (g**3 * A).flatten(2).sum(2)[..., None, None] + 1e-8)
    weight = (alpha * g.relu()).sum((2, 3))
    found = of_torchcam("SmoothGradCAMpp", case, num_samples=1, std=1e-9)
    close((weight[..., None, None] * A).sum(1)[0].float().relu(), found)
    plain = ours(GradCamPlusPlus(case.layer), case)
    close(ours(SmoothGradCamPlusPlus(case.layer, noise=0.0, samples=1), case), plain)


def test_finer_cam_of_grad_cam_weighs_references_by_their_softmax(case: Case) -> None:
    """y = Σ_d p_d (y_c − y_d) / (Σ_d p_d + 1e-9), and it differentiates through p."""

    class Weighed(FinerCam):
        def scores(self, logits_BC: Tensor, classes_BT: Tensor) -> Tensor:
            own = logits_BC.gather(1, classes_BT)
            nearest = (logits_BC - own).abs().argsort(1)[:, 1:4]
            share = logits_BC.softmax(1).gather(1, nearest)
            return ((share * (own - logits_BC.gather(1, nearest))).sum(1) / (share.sum(1) + 1e-9))[:, None]

    peer = grad_cam_package.FinerCAM(Logits(case.network), [case.module], case.reshape)
    raw: list[Any] = []
    base = peer.base_cam
    base.aggregate_multi_layers = lambda maps: raw.extend(maps)
    base.compute_cam_per_layer = lambda image, targets, smooth: [
        base.get_cam_image(
            image,
            case.module,
            targets,
            base.activations_and_grads.activations[0].numpy(),
            base.activations_and_grads.gradients[0].numpy(),
            smooth,
        )
    ]
    with peer:
        peer(case.image_13HW.clone().requires_grad_(), None)
    close(ours(Weighed(GradCam(case.layer)), case), raw[0][0])


def _masked_scores(case: Case, masks_K1HW: Tensor) -> Tensor:
    with torch.no_grad():
        scores = [case.network(case.image_13HW * some).logits_BC[:, case.label] for some in masks_K1HW.split(32)]
    return torch.cat(scores)[None, None]


def _share(maps: Tensor) -> Tensor:
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low + 1e-8)


@pytest.mark.parametrize("case", ["squeezenet, a layer", "vit, a block"], indirect=True)
def test_score_cam_differs_from_both_by_how_masks_are_upsampled(case: Case) -> None:
    """grad-cam aligns corners; torchcam brings a unit to 0..1 before it is upsampled; both add 1e-8 to the range.

    Of 128 and 192 units: other layers take minutes.
    """
    A = of_layer(case).features_BKhw
    unit_K1hw = A[0][:, None]
    aligned = _share(F.interpolate(unit_K1hw, SIZE, mode="bilinear", align_corners=True))
    close(score_cam(A, _masked_scores(case, aligned))[0, 0], theirs("ScoreCAM", case))
    before = F.interpolate(_share(unit_K1hw), SIZE, mode="bilinear")
    close(score_cam(A, _masked_scores(case, before))[0, 0].relu(), of_torchcam("ScoreCAM", case))
    after = _share(F.interpolate(unit_K1hw, SIZE, mode="bilinear"))
    close(ours(ScoreCam(case.layer), case), score_cam(A, _masked_scores(case, after))[0, 0])


def test_layer_cam_of_torchcam_raises_the_deepest_too(case: Case) -> None:
    """max over layers of tanh(2·minmax(map)); grad-cam has the mean over layers of minmax(map)."""
    if case.layer is None:
        return
    names = [case.layer, None]
    maps = [ours(LayerCam([name]), case).relu()[None, None] for name in names]
    modules = [case.module, case.network.get_submodule(case.features)]
    with torchcam.LayerCAM(Logits(case.network), modules, reshape_transform=case.reshape) as peer:
        scores = peer.model(case.image_13HW.clone().requires_grad_())
        fused = peer.fuse_cams(peer(case.label, scores))[0].detach()
    raised = [F.interpolate(torch.tanh(2 * _share(each)), maps[0].shape[2:], mode="bilinear") for each in maps]
    close(torch.maximum(*raised)[0, 0], fused)


def test_refine_cam_is_torchcams(case: Case) -> None:
    """It brings the product to 0..1 again; grad-cam makes it at the input's size."""
    if case.layer is None:
        return
    modules = [case.module, case.network.get_submodule(case.features)]
    options = {"reshape_transform": case.reshape}
    with torchcam.RefineCAM(Logits(case.network), modules, base_method=torchcam.LayerCAM, **options) as peer:
        scores = peer.base_cam.model(case.image_13HW.clone().requires_grad_())
        expected = peer(case.label, scores)[0][0].detach()
    close(_share(ours(RefineCam(LayerCam(), [case.layer, None]), case)[None, None])[0, 0], expected)

    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    peer = grad_cam_package.RefineCAM(Logits(case.network), modules, base_method=grad_cam_package.LayerCAM, **options)
    expected = torch.from_numpy(peer(case.image_13HW.clone().requires_grad_(), [ClassifierOutputTarget(case.label)])[0])
    for base in peer.base_cam_per_layer:
        base.activations_and_grads.release()
    maps = [ours(LayerCam([name]), case)[None, None] for name in (case.layer, None)]
    at_input = [F.interpolate(_share(each.relu()), SIZE, mode="bilinear") for each in maps]
    close(_share(refine_cam(at_input))[0, 0], expected)


def test_full_grad_of_grad_cam_brings_each_channel_to_0_to_1(case: Case) -> None:
    """ψ channel by channel in place of layer by layer; and the sum once more."""
    if case.layer is not None:
        return
    biases = layer_biases(case.network)

    def by_channel(image_gradient: Tensor, gradients: list[Tensor]) -> Tensor:
        parts = [image_gradient * case.image_13HW]
        parts += [bias[:, None, None] * gradient for bias, gradient in zip(biases.values(), gradients, strict=True)]
        shares = []
        for part in parts:
            size = part.double().abs()
            size = size - size.amin((2, 3), keepdim=True)
            size = size / (1e-7 + size.amax((2, 3), keepdim=True))
            shares.append(F.interpolate(size, SIZE, mode="bilinear").sum(1))
        return sum(shares[1:], shares[0])

    expected = map_per_class(case.network, case.image_13HW, torch.tensor([[case.label]]), list(biases), by_channel)
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with redirect_stdout(StringIO()), grad_cam_package.FullGrad(Logits(case.network), []) as peer:
        peer_map = torch.from_numpy(peer(case.image_13HW.clone(), [ClassifierOutputTarget(case.label)])[0])
    close(_share(expected)[0, 0].float(), peer_map)
    assert float((_share(ours(FullGrad(), case)[None, None])[0, 0] - peer_map).abs().max()) > 0.01
