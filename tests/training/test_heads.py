"""Generalised-mean pooling and cosine heads: their formulas, and all that networks go through."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from chajong.errors import RecipeError
from chajong.recipe_model import CosineHead, Data, Gem, Model
from chajong.training.graph import write_graph
from chajong.training.heads import CosineLinear, GemPool
from chajong.training.infer import Eye
from chajong.training.last_layer import head_inputs, head_parameters
from chajong.training.optim import choose_what_learns, make_optimiser
from chajong.training.weights import build_network, empty_network, load_weights, save_weights
from tests.training.tiny import CPU, MEAN, STD, final, make_fit, make_pixels, make_recipe

BOTH = Model(backbone="test_resnet", weights="none", gem=Gem(), cosine=CosineHead())
GEM = Model(backbone="test_resnet", weights="none", gem=Gem())
COSINE = Model(backbone="test_resnet", weights="none", cosine=CosineHead())


def an_eye(model: Model) -> Eye:
    torch.manual_seed(1)
    return Eye(empty_network(model, 3).eval(), CPU, "fp32", MEAN, STD)


@pytest.mark.parametrize("p", [1.0, 3.0, 4.5])
@pytest.mark.parametrize("flatten", [True, False])
def test_the_pool_is_the_root_of_the_mean_power(p: float, flatten: bool) -> None:
    x = torch.randn(2, 4, 3, 5)
    found = GemPool(Gem(p=p), flatten)(x)
    assert found.shape == ((2, 4) if flatten else (2, 4, 1, 1))
    positive = np.maximum(x.double().numpy(), 1e-6)
    wanted = (positive**p).mean(axis=(2, 3)) ** (1 / p)
    np.testing.assert_allclose(found.detach().numpy().reshape(2, 4), wanted, rtol=1e-5)


def test_logits_are_scaled_cosines() -> None:
    layer = CosineLinear(6, 3, CosineHead(scale=12))
    x = torch.randn(4, 6) * 50
    w = layer.weight.detach().numpy()
    wanted = [[12 * a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in w] for a in x.numpy()]
    np.testing.assert_allclose(layer(x).detach().numpy(), wanted, atol=1e-4)
    torch.testing.assert_close(layer(x), layer(7 * x))


@pytest.mark.parametrize("learned", [True, False])
def test_p_and_scale_learn_only_if_asked_for(learned: bool) -> None:
    model = Model(
        backbone="test_resnet",
        weights="none",
        gem=Gem(learned=learned),
        cosine=CosineHead(learned=learned),
    )
    network = empty_network(model, 3)
    names = {name for name, _ in network.named_parameters()}
    own = {"global_pool.p", "fc.log_scale"}
    assert (own <= names) is learned
    assert own <= set(network.state_dict())  # what is fixed is kept with the weights too


@pytest.mark.parametrize(
    "backbone", ["mobilenetv2_100", "resnet18", "test_convnext", "test_efficientnet", "test_resnet"]
)
def test_both_fit_many_backbones(backbone: str) -> None:
    network = empty_network(BOTH.model_copy(update={"backbone": backbone}), 3)
    network(torch.zeros(2, 3, 32, 32)).sum().backward()
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(GemPool) == kinds.count(CosineLinear) == 1
    with head_inputs(network) as seen:
        network(torch.zeros(2, 3, 32, 32))
    assert seen[0].shape[0] == 2
    optim = make_recipe(optim_layer_decay=0.5).optim
    rates = {
        id(p): group["lr_scale"]
        for group in make_optimiser(network, optim).param_groups
        for p in group["params"]
    }
    # What is new learns at the full rate.
    assert all(rates[id(p)] == 1 for _, p in head_parameters(network))
    assert all(rates[id(m.p)] == 1 for m in network.modules() if isinstance(m, GemPool))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Model(backbone="vit_tiny_patch16_224", weights="none", gem=Gem()), "model.gem needs"),
        (Model(backbone="torchvision/resnet18", weights="none", gem=Gem()), "model.gem needs"),
        (Model(backbone="swin_tiny_patch4_window7_224", weights="none", gem=Gem()), "model.gem"),
        (Model(backbone="tresnet_m", weights="none", cosine=CosineHead()), ""),
        (
            Model(backbone="deit_tiny_distilled_patch16_224", weights="none", cosine=CosineHead()),
            "model.cosine needs",
        ),
    ],
    ids=lambda value: getattr(value, "backbone", ""),
)
def test_other_ends_are_refused(model: Model, said: str) -> None:
    if not said:
        modules = empty_network(model, 3).modules()
        assert any(isinstance(module, CosineLinear) for module in modules)
        return
    with pytest.raises(RecipeError, match=said):
        empty_network(model, 3)


def test_torchvision_takes_a_cosine_head() -> None:
    model = Model(backbone="torchvision/resnet18", weights="none", cosine=CosineHead())
    network = empty_network(model, 3)
    assert isinstance(network.fc, CosineLinear)
    assert {name for name, _ in head_parameters(network)} == {"fc.weight", "fc.log_scale"}


def test_a_file_of_weights_need_not_know_them(tmp_path: Path) -> None:
    plain = empty_network(Model(backbone="test_resnet", weights="none"), 5)
    save_weights(tmp_path / "w.safetensors", plain.state_dict())
    model = BOTH.model_copy(update={"weights": str(tmp_path / "w.safetensors")})
    network, _ = build_network(model, 3)
    torch.testing.assert_close(
        network.state_dict()["conv1.0.weight"], plain.state_dict()["conv1.0.weight"]
    )


def test_trained_weights_go_into_a_file_and_back(tmp_path: Path) -> None:
    network = empty_network(BOTH, 3).eval()
    save_weights(tmp_path / "w.safetensors", network.state_dict())
    again = empty_network(BOTH, 3).eval()
    load_weights(again, tmp_path / "w.safetensors")
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(network(x), again(x))


@pytest.mark.parametrize("model", [GEM, COSINE, BOTH], ids=["gem", "cosine", "both"])
def test_it_learns(model: Model, tmp_path: Path) -> None:
    # At 32 px one place would be left, of which every p is the mean.
    recipe = make_recipe(model=model, train_epochs=4, optim_lr=6e-3, data=Data(size_px=64))
    fit = make_fit(tmp_path, recipe)
    before = {name: value.clone() for name, value in fit.network.state_dict().items()}
    history, after = final(fit)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    for name in {"global_pool.p", "fc.log_scale"} & set(before):
        assert not torch.equal(before[name], after[f"raw.{name}"])


def test_a_high_power_learns_too(tmp_path: Path) -> None:
    model = Model(backbone="test_resnet", weights="none", gem=Gem(p=30))
    fit = make_fit(tmp_path, make_recipe(model=model, data=Data(size_px=64)))
    history, after = final(fit)
    assert history[-1]["loss"] < history[0]["loss"]
    assert after["raw.global_pool.p"].isfinite()


def test_cosines_of_look_alikes_differ_in_half_precision_too() -> None:
    layer = CosineLinear(64, 2, CosineHead())
    with torch.no_grad():
        layer.weight[1] = layer.weight[0] + 1e-3 * torch.randn(64)
    x = layer.weight[:1].detach()
    with torch.autocast("cpu", torch.bfloat16):
        logits = layer(x)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, layer(x), rtol=0, atol=0)
    assert logits[0, 0] > logits[0, 1]


def test_in_the_head_only_phase_cosines_learn() -> None:
    network = empty_network(BOTH, 3)
    choose_what_learns(network, True, 0)
    assert {n for n, p in network.named_parameters() if p.requires_grad} == {
        "fc.weight",
        "fc.log_scale",
    }


def test_the_graph_answers_as_torch_does(tmp_path: Path) -> None:
    eye = an_eye(BOTH)
    pixels = make_pixels(np.arange(4) % 3)
    write_graph([eye], ("plain", "flip"), 32, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    found = session.run(None, {"photos": pixels})[0][:, 0]
    wanted = eye.look(torch.from_numpy(pixels), ("plain", "flip"))
    assert wanted.std(axis=0).min() > 1e-3
    np.testing.assert_allclose(found, wanted, atol=1e-5)
