"""Pseudo-supervised localization against its definition; the box as a map; its network."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_batch import batch_of

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.squeezenet_gap import squeezenet_gap
from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.contracts import Network
from cam_lightning.method.psol import BoxRegressor, Psol, covered
from cam_lightning.method.schedule import constant

CLASSES = 4


def make(network: nn.Module, **options: Any) -> Psol:
    return Psol(network, torch.optim.SGD, constant, learning_rate=0.1, **options)


def base(loaded: bool = False) -> Any:
    torch.manual_seed(0)
    network = googlenet_gap(CLASSES, width=0.125, units=16, batch_norm=True)
    network.is_loaded = loaded
    return network


@pytest.fixture
def network() -> BoxRegressor:
    return BoxRegressor(base(), units=8)


def test_the_loss_is_cross_entropy_and_the_squared_error_of_the_pseudo_box(
    network: BoxRegressor, images: Tensor
) -> None:
    """The pseudo box is what `box=largest_component` makes of the label's map, in the image that the network sees."""
    labels = [1, 3, 0]
    network = network.eval()
    plain = base().eval()
    with torch.no_grad():
        loss = make(network, box_weight=20.0, threshold=0.4).loss(network(images), batch_of(images, labels))
        output = plain(images)
        maps = plain.class_maps(output, torch.tensor(labels)[:, None])
        pooled = network.trunk.regressor(images).mean((2, 3))
        box = network.box(pooled)
    boxes = LargestComponent(threshold=0.4)(maps, torch.tensor([[64, 112]] * 3), (64, 112)).boxes_BP4[:, 0]
    assert not torch.equal(boxes, torch.tensor([[0.0, 0.0, 112.0, 64.0]] * 3)), "or the test shows nothing"
    error = 0.0
    for b, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        pseudo = (x0 / 112, y0 / 64, (x1 - x0) / 112, (y1 - y0) / 64)
        error += sum((float(box[b, i]) - pseudo[i]) ** 2 for i in range(4)) / 12
    entropy = -sum(float(output.logits_BC[b].log_softmax(0)[c]) for b, c in enumerate(labels)) / 3
    assert float(loss.parts["box"]) == pytest.approx(20 * error, rel=1e-4)
    assert float(loss.parts["classification"]) == pytest.approx(entropy, rel=1e-5)
    assert float(loss.total) == pytest.approx(entropy + 20 * error, rel=1e-4)


def test_pseudo_boxes_are_of_maps_in_float32(images: Tensor) -> None:
    """Under mixed precision too, and where the features are class maps: in bfloat16 cells tie at the threshold."""
    network = BoxRegressor(squeezenet_gap(4))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = network(images)
        within = network.classifier_maps(output, torch.tensor([[0], [1], [3]]))
    with torch.no_grad():
        without = network.classifier_maps(output, torch.tensor([[0], [1], [3]]))
    assert within.dtype == torch.float32
    assert torch.equal(within, without)


def test_no_true_box_is_read(network: BoxRegressor, images: Tensor) -> None:
    batch = batch_of(images, [1, 3, 0])
    poisoned = batch.truth._replace(boxes_BN4=torch.full((3, 2, 4), float("nan")), num_boxes_B=torch.tensor([2, 2, 2]))
    output = network.eval()(images)
    assert torch.equal(
        make(network).loss(output, batch).total, make(network).loss(output, batch._replace(truth=poisoned)).total
    )


@pytest.mark.parametrize("box", [(3.0, 4.0, 17.0, 11.0), (0.4, 2.3, 5.9, 13.6), (10.0, 0.0, 24.0, 16.0)])
def test_the_map_of_a_box_is_boxed_as_the_box(box: tuple[float, ...]) -> None:
    """At any threshold, to a fraction of a cell: of cells that are pixels, and of those that are two pixels wide."""
    x0, y0, x1, y1 = box
    share = torch.tensor([[x0 / 24, y0 / 16, (x1 - x0) / 24, (y1 - y0) / 16]])
    map_hw = covered(share, (16, 24))
    assert float(map_hw.sum()) == pytest.approx((x1 - x0) * (y1 - y0), rel=1e-5), "each cell's covered share"
    for scale in (1, 2):
        for threshold in (0.2, 0.5, 0.8):
            found = LargestComponent(threshold)(map_hw[:, None], torch.tensor([[16 * scale, 24 * scale]]), (16, 24))
            assert not found.degenerate_BP.any()
            assert (found.boxes_BP4[0, 0] / scale - torch.tensor(box)).abs().max() <= 1.0


def test_a_box_beyond_the_image_is_cut_and_the_whole_is_constant() -> None:
    map_hw = covered(torch.tensor([[0.5, 0.5, 0.9, 0.9], [0.0, 0.0, 1.0, 1.0], [0.3, 0.3, 0.0, 0.0]]), (4, 6))
    assert float(map_hw[0].sum()) == 6
    assert map_hw[1].eq(1).all()
    assert map_hw[2].eq(0).all()


def test_both_trunks_start_alike_and_learn_apart(network: BoxRegressor, images: Tensor) -> None:
    network = network.train()
    twins = network.trunk
    for (name, own), (_, other) in zip(
        twins.classifier.named_parameters(), twins.regressor.named_parameters(), strict=True
    ):
        assert torch.equal(own, other), name
        assert own is not other
    loss = make(network).loss(network(images), batch_of(images, [1, 3, 0]))
    loss.parts["box"].backward(retain_graph=True)
    assert not any(parameter.grad.any() for parameter in twins.classifier.parameters() if parameter.grad is not None)
    assert all(parameter.grad is None for parameter in network.classifier.parameters())
    loss.parts["classification"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters()), "else DDP would refuse"
    names = [name for name, _ in network.named_parameters()]
    assert len(names) == len(set(names)) == 2 * len(list(base().trunk.parameters())) + 2 + 4


def test_a_frozen_classifier_stays(images: Tensor) -> None:
    network = BoxRegressor(base(loaded=True), units=8, frozen=True).train()
    before = copy.deepcopy(network.state_dict())
    assert not network.trunk.classifier.training
    assert network.trunk.regressor.training
    method = make(network)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    loss = method.loss(network(images), batch_of(images, [1, 3, 0]))
    assert torch.equal(loss.total, loss.parts["box"])
    loss.total.backward()
    optimizer.step()
    for name, value in network.state_dict().items():
        kept = name.startswith(("trunk.classifier.", "classifier."))
        if kept or value.dtype == torch.float32:
            assert torch.equal(value, before[name]) == kept, name
    method.on_fit_start()


def test_a_frozen_classifier_at_chance_is_an_error() -> None:
    for network, message in ((base(), "all of it would stay at chance"), (base(loaded=True), "classifier.classifier")):
        network.new_layers = ("classifier",) if network.is_loaded else ()
        method = make(BoxRegressor(network, frozen=True))
        with pytest.raises(ValueError, match=message):
            method.on_fit_start()
    make(BoxRegressor(base())).on_fit_start()


def test_it_is_a_network_like_any_other(network: BoxRegressor, images: Tensor) -> None:
    network = network.eval()
    plain = base().eval()
    assert isinstance(network, Network)
    with torch.no_grad():
        whole, part = network(images), network.select_classes([3, 1])(images)
        torch.testing.assert_close(whole.logits_BC, plain(images).logits_BC)
        maps = network.class_maps(whole, torch.tensor([[3, 1, 0]] * 3))
    torch.testing.assert_close(part.logits_BC, whole.logits_BC[:, [3, 1]])
    assert maps is not None
    assert maps.shape == (3, 3, 4 * 16, 7 * 16)
    assert torch.equal(maps[:, 0], maps[:, 2]), "whatever the class"
    assert (network.num_classes, network.heads) == (CLASSES, ("classifier.classifier",))


def test_other_options_are_errors_and_new_layers_are_named() -> None:
    with pytest.raises(ValueError, match="box_weight is at least 0; got -1"):
        make(base(), box_weight=-1)
    with pytest.raises(ValueError, match=r"method\.normalise is one of"):
        make(base(), normalise="softmax")
    with pytest.raises(ValueError, match=r"method\.threshold is a share"):
        make(base(), threshold=1.2)
    with pytest.raises(ValueError, match="cells is at least 1"):
        BoxRegressor(base(), cells=0)
    with pytest.raises(ValueError, match="needs a network of a trunk and a head; Linear is none"):
        BoxRegressor(nn.Linear(2, 2))  # type: ignore[arg-type]
    network = base(loaded=True)
    network.new_layers = ("trunk.cam_conv.conv", "classifier")
    assert BoxRegressor(network).new_layers == (
        "trunk.classifier.cam_conv.conv", "classifier.classifier", "trunk.regressor.cam_conv.conv", "box")  # fmt: skip
