"""Maps of what tells two classes apart: what they sum to, and where they point."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chajong.recipe_model import CosineHead, Gem, Model
from chajong.training.heat import heat
from chajong.training.infer import Eye
from chajong.training.sight import Sight
from chajong.training.weights import empty_network
from tests.training.tiny import CPU, MEAN, STD, make_pixels

TARGETS = np.arange(6) % 3
OTHERS = (TARGETS + 1) % 3
MODELS = {
    "mean": Model(backbone="test_resnet", weights="none"),
    "gem": Model(backbone="test_resnet", weights="none", gem=Gem()),
    "cosine": Model(backbone="test_resnet", weights="none", cosine=CosineHead()),
    "gem and cosine": Model(
        backbone="test_resnet", weights="none", gem=Gem(), cosine=CosineHead(scale=20)
    ),
    "norm behind the mean": Model(backbone="test_convnext", weights="none"),
}
SWIN = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 16, "depths": (1, 1)}


def an_eye(network: nn.Module) -> Eye:
    return Eye(network.eval(), CPU, "fp32", MEAN, STD, temperature=2.0)


def network_of(kind: str) -> nn.Module:
    torch.manual_seed(1)
    if kind in MODELS:
        return empty_network(MODELS[kind], 3)
    if kind == "channels last":
        name, options = "swin_tiny_patch4_window7_224", {**SWIN, "num_heads": (2, 2)}
    else:
        name, options = "test_vit", {"img_size": 32, "patch_size": 8, "global_pool": kind}
    made: nn.Module = timm.create_model(name, num_classes=3, **options)
    return made


def shown(pixels: NDArray[np.uint8], eye: Eye) -> NDArray[np.float32]:
    """By how much each photo speaks for its target."""
    rows = np.arange(len(pixels))
    with torch.inference_mode():
        logits = eye.network(eye.prepare(torch.from_numpy(pixels))).numpy() / eye.temperature
    gap: NDArray[np.float32] = logits[rows, TARGETS] - logits[rows, OTHERS]
    return gap


@pytest.mark.parametrize("kind", [*MODELS, "channels last", "avg"])
def test_a_map_sums_to_the_difference_of_the_logits(kind: str) -> None:
    network = network_of(kind)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):  # they are of no place
                parameter.zero_()
    eye, pixels = an_eye(network), make_pixels(TARGETS)
    found = heat(eye, pixels, TARGETS, OTHERS)
    assert found is not None
    assert found.shape[1] == found.shape[2]
    gap = shown(pixels, eye)
    assert np.abs(gap).max() > 1e-3
    np.testing.assert_allclose(found.mean(axis=(1, 2)), gap, atol=1e-4)
    back = heat(eye, pixels, OTHERS, TARGETS)
    assert back is not None
    np.testing.assert_allclose(back, -found, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "norm"), [("norm behind the mean", "head.norm"), ("avg", "fc_norm")]
)
def test_what_a_norm_adds_is_of_no_place(kind: str, norm: str) -> None:
    eye, pixels = an_eye(network_of(kind)), make_pixels(TARGETS)
    before = heat(eye, pixels, TARGETS, OTHERS)
    with torch.no_grad():
        bias = eye.network.get_submodule(norm).bias
        assert isinstance(bias, Tensor)
        bias.uniform_(-1, 1)
    after = heat(eye, pixels, TARGETS, OTHERS)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_where_a_class_token_answers_a_map_is_the_slope_of_what_the_last_block_sees() -> None:
    eye, pixels = an_eye(network_of("token")), make_pixels(TARGETS)
    found = heat(eye, pixels, TARGETS, OTHERS)
    assert found is not None
    assert found.shape == (6, 4, 4)
    norm = list(eye.network.get_submodule("blocks").children())[-1].get_submodule("norm1")
    grown = 1e-2

    def grow(_: nn.Module, __: Any, features: Tensor) -> Tensor:
        features = features.clone()
        features[:, 1 + 2 * 4 + 3] *= 1 + grown  # row 2, column 3; the class token is first
        return features

    before = shown(pixels, eye)
    hook = norm.register_forward_hook(grow)
    change = (shown(pixels, eye) - before) / grown
    hook.remove()
    assert np.abs(change).max() > 1e-4
    np.testing.assert_allclose(found[:, 2, 3] / 16, change, rtol=0.05, atol=1e-5)


class Counting(nn.Module):
    """Its class 1 is how bright a photo is in the mean over squares of 8 pixels."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = self.output_fmt = form
        self.num_prefix_tokens = 2

    def forward_features(self, x: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(x.mean(dim=1, keepdim=True), 8)
        if self.form == "NHWC":
            return x.movedim(1, 3)
        return torch.cat([torch.ones(len(x), 2, 1), x.flatten(2).mT], dim=1)

    def forward_head(self, features: Tensor) -> Tensor:
        if self.form == "NLC":
            features = features[:, 2:]
        score = features.flatten(1).mean(dim=1)
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.mark.parametrize("form", ["NHWC", "NLC"])
def test_a_map_points_to_the_place(form: str) -> None:
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[0, 16:24, 8:16] = 255
    eye = Eye(Counting(form), CPU, "fp32", (0.0,) * 3, (1.0,) * 3)
    found = heat(eye, pixels, np.array([1]), np.array([0]))
    assert found is not None
    wanted = np.zeros((1, 4, 4))
    wanted[0, 2, 1] = 1
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_networks_without_places_have_no_map() -> None:
    network = empty_network(Model(backbone="torchvision/resnet18", weights="none"), 3)
    assert heat(an_eye(network), make_pixels(TARGETS), TARGETS, OTHERS) is None
    odd = network_of("token")
    odd.num_prefix_tokens = 0  # type: ignore[assignment]
    assert heat(an_eye(odd), make_pixels(TARGETS), TARGETS, OTHERS) is None


def test_looking_leaves_the_network_as_it_was() -> None:
    eye, pixels = an_eye(network_of("token")), make_pixels(TARGETS)
    before = eye.look(torch.from_numpy(pixels), ("plain",))
    heat(eye, pixels, TARGETS, OTHERS)
    np.testing.assert_array_equal(eye.look(torch.from_numpy(pixels), ("plain",)), before)
    assert not any(module._forward_hooks for module in eye.network.modules())


@pytest.mark.parametrize(("kind", "has_heat"), [("mean", True), ("cosine", True), ("gem", False)])
def test_each_place_has_its_share_of_the_logits(kind: str, has_heat: bool) -> None:
    network: Any = network_of(kind)
    network.fc.weight.data.normal_()  # as large as learned ones
    sight = Sight(an_eye(network), 64)
    assert sight.has_heat == has_heat
    if not has_heat:
        return
    with torch.inference_mode():
        logits, _, features = sight(torch.rand(3, 3, 64, 32))
        assert features is not None
        places = sight.heat(features)
    assert places.shape[2] > places.shape[3] > 0
    torch.testing.assert_close(places.mean(dim=(2, 3)), logits, atol=1e-5, rtol=1e-4)
    assert places.std(dim=(2, 3)).min() > 0
