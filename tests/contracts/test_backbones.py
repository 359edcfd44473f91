"""One contract over networks of every family that a recipe can build on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from chajong.errors import RecipeError, WeightsError
from chajong.recipe_model import Model
from chajong.recipe_train import AdamW
from chajong.training.last_layer import head_parameters
from chajong.training.optim import choose_what_learns, make_optimiser, set_training_mode
from chajong.training.weights import build_network, empty_network, load_weights, save_weights

NUM_CLASSES = 5
STAGED = (
    "test_resnet",
    "test_convnext",
    "test_efficientnet",
    "test_vit",
    "test_nfnet",
    "test_byobnet",
    "mobilenetv3_small_050",
    "lcnet_035",
)
UNSTAGED = ("torchvision/mobilenet_v3_small", "torchvision/shufflenet_v2_x0_5")
every_backbone = pytest.mark.parametrize("backbone", STAGED + UNSTAGED)
every_staged = pytest.mark.parametrize("backbone", STAGED)


def build(backbone: str) -> nn.Module:
    torch.manual_seed(0)
    network, source = build_network(Model(backbone=backbone, weights="none"), NUM_CLASSES)
    assert source.name == "none"
    return network


def photos() -> Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def learn_once(network: nn.Module) -> None:
    optimiser = make_optimiser(network, AdamW(lr=1e-2, weight_decay=0.1))
    loss = functional.cross_entropy(network(photos()), torch.tensor([0, 1, 2, 3]))
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def changed(before: dict[str, Tensor], network: nn.Module) -> set[str]:
    after = network.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def head_of(network: nn.Module) -> set[str]:
    return {name for name, _ in head_parameters(network)}


@every_backbone
def test_its_head_is_one_layer_of_the_asked_classes(backbone: str) -> None:
    network = build(backbone)
    shapes = {tuple(parameter.shape) for _, parameter in head_parameters(network)}
    assert (NUM_CLASSES,) in shapes
    assert any(shape[0] == NUM_CLASSES and len(shape) > 1 for shape in shapes)
    assert len(shapes) == 2
    assert network.eval()(photos()).shape == (4, NUM_CLASSES)


@every_backbone
def test_head_only_changes_the_head_and_nothing_else(backbone: str) -> None:
    network = build(backbone)
    before = copied(network)
    choose_what_learns(network, head_only=True, frozen_stages=0)
    assert {n for n, p in network.named_parameters() if p.requires_grad} == head_of(network)
    learn_once(network)
    assert changed(before, network) == head_of(network)  # no batch norm statistics either


@every_backbone
def test_after_the_head_only_phase_everything_learns(backbone: str) -> None:
    network = build(backbone)
    choose_what_learns(network, head_only=True, frozen_stages=0)
    choose_what_learns(network, head_only=False, frozen_stages=0)
    assert all(module.training for module in network.modules())
    before = copied(network)
    learn_once(network)
    names = {name for name, _ in network.named_parameters()}
    # A gate or a shortcut that starts at zero gives what lies behind it no gradient at first.
    still = names - changed(before, network)
    assert len(still) <= len(names) * 0.35
    assert head_of(network) <= changed(before, network)


@every_staged
def test_frozen_stages_and_their_statistics_stay(backbone: str) -> None:
    network = build(backbone)
    choose_what_learns(network, head_only=False, frozen_stages=2)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen
    assert frozen.isdisjoint(head_of(network))
    # Stages are counted from the photo on.
    names = [name for name, _ in network.named_parameters()]
    assert names[0] in frozen
    before = copied(network)
    learn_once(network)
    parts = changed(before, network)
    assert parts.isdisjoint(frozen)
    assert parts
    # Statistics change exactly in the norms that learn.
    still = {name.rpartition(".")[0] for name in frozen}
    moved = {name.rpartition(".")[0] for name in parts if name.endswith("running_mean")}
    norms = {name.rpartition(".")[0] for name in before if name.endswith("running_mean")}
    assert moved == norms - still


@pytest.mark.parametrize(
    ("backbone", "frozen_stages", "frozen", "learning"),
    [
        ("test_resnet", 1, {"conv1", "bn1"}, {"layer1", "layer2", "layer3", "layer4", "fc"}),
        ("test_resnet", 2, {"conv1", "bn1", "layer1"}, {"layer2", "layer3", "layer4", "fc"}),
        ("test_convnext", 1, {"stem"}, {"stages", "head"}),
    ],
)
def test_stages_are_counted_from_the_stem_on(
    backbone: str, frozen_stages: int, frozen: set[str], learning: set[str]
) -> None:
    network = build(backbone)
    choose_what_learns(network, head_only=False, frozen_stages=frozen_stages)
    parts = {True: set[str](), False: set[str]()}
    for name, parameter in network.named_parameters():
        parts[parameter.requires_grad].add(name.split(".")[0])
    assert parts == {False: frozen, True: learning}


@every_staged
def test_head_only_and_frozen_stages_go_together(backbone: str) -> None:
    network = build(backbone)
    choose_what_learns(network, head_only=True, frozen_stages=2)
    assert {n for n, p in network.named_parameters() if p.requires_grad} == head_of(network)


@every_backbone
def test_evaluation_does_not_bring_frozen_norms_back_to_life(backbone: str) -> None:
    network = build(backbone)
    choose_what_learns(network, head_only=True, frozen_stages=0)
    modes = [module.training for module in network.modules()]
    network.eval()
    set_training_mode(network)
    assert [module.training for module in network.modules()] == modes


@every_backbone
def test_weights_go_through_a_file_bit_by_bit(backbone: str, tmp_path: Path) -> None:
    network = build(backbone)
    learn_once(network)
    path = tmp_path / "weights.safetensors"
    network.to(memory_format=torch.channels_last)
    save_weights(path, network.state_dict())
    network.to(memory_format=torch.contiguous_format)
    torch.manual_seed(1)
    other = empty_network(Model(backbone=backbone, weights="none"), NUM_CLASSES)
    load_weights(other, path)
    assert not changed(copied(network), other)
    assert torch.equal(network.eval()(photos()), other.eval()(photos()))


@every_backbone
def test_weights_of_other_classes_or_another_network_are_refused(
    backbone: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, build(backbone).state_dict())
    wider = empty_network(Model(backbone=backbone), NUM_CLASSES + 1)
    with pytest.raises(WeightsError, match="does not hold the weights"):
        load_weights(wider, path)
    another = "test_resnet" if backbone != "test_resnet" else "test_vit"
    with pytest.raises(WeightsError, match="does not hold the weights"):
        load_weights(empty_network(Model(backbone=another), NUM_CLASSES), path)


def groups_of(network: nn.Module, optim: AdamW) -> Iterator[tuple[str, dict[str, float]]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in make_optimiser(network, optim).param_groups:
        for parameter in group["params"]:
            yield names[id(parameter)], group


@every_backbone
def test_every_weight_has_one_group_and_no_bias_or_norm_decays(backbone: str) -> None:
    network = build(backbone)
    groups = list(groups_of(network, AdamW(weight_decay=0.3)))
    parameters = dict(network.named_parameters())
    exempt: set[str] = getattr(network, "no_weight_decay", set)()
    if backbone == "test_vit":
        assert exempt & set(parameters)  # positions
    assert sorted(name for name, _ in groups) == sorted(parameters)
    for name, group in groups:
        decays = parameters[name].ndim > 1 and name not in exempt
        assert group["weight_decay"] == (0.3 if decays else 0)
        assert group.get("lr_scale", 1.0) == 1.0


@every_staged
def test_layer_decay_slows_what_is_nearer_to_the_photo(backbone: str) -> None:
    network = build(backbone)
    scales = {name: group["lr_scale"] for name, group in groups_of(network, AdamW(layer_decay=0.7))}
    head = {scales[name] for name in head_of(network)}
    assert head == {1.0}
    first = next(name for name, _ in network.named_parameters())
    assert scales[first] == min(scales.values()) < 0.7
    for scale in scales.values():
        steps = torch.log(torch.tensor(scale)) / torch.log(torch.tensor(0.7))
        assert steps.item() == pytest.approx(round(steps.item()), abs=1e-4)


@pytest.mark.parametrize("backbone", UNSTAGED)
def test_a_backbone_without_stages_says_so(backbone: str) -> None:
    network = build(backbone)
    with pytest.raises(RecipeError, match=r"model\.frozen_stages must be 0"):
        choose_what_learns(network, head_only=False, frozen_stages=1)
    with pytest.raises(RecipeError, match=r"optim\.layer_decay must be 1"):
        make_optimiser(network, AdamW(layer_decay=0.9))


@every_staged
def test_more_stages_than_there_are_says_how_many(backbone: str) -> None:
    with pytest.raises(RecipeError, match=r"frozen_stages must be at most \d+"):
        choose_what_learns(build(backbone), head_only=False, frozen_stages=99)


def test_dropout_of_frozen_parts_is_off() -> None:
    model = Model(backbone="test_vit", weights="none", dropout=0.5, drop_path=0.5)
    network, _ = build_network(model, NUM_CLASSES)
    choose_what_learns(network, head_only=True, frozen_stages=0)
    live = {n for n, m in network.named_modules() if isinstance(m, nn.Dropout) and m.training}
    assert live == {"pos_drop", "head_drop"} & {name for name, _ in network.named_modules()}


def test_both_heads_of_a_distilled_network_are_its_head() -> None:
    network = empty_network(Model(backbone="deit_tiny_distilled_patch16_224"), NUM_CLASSES)
    assert head_of(network) == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("resnet_of_dreams", "must be a timm name or torchvision/NAME"),
        ("resnet10t.of_dreams", r"Near it: resnet10t\.c3_in1k"),
        ("torchvision/resnet_of_dreams", "must be a timm name or torchvision/NAME"),
        ("timm/resnet18", "must be a timm name or torchvision/NAME"),
        ("", "must be a timm name or torchvision/NAME"),
        ("torchvision/squeezenet1_0", "does not end in one linear layer"),
    ],
)
def test_an_unusable_backbone_is_refused(backbone: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        empty_network(Model(backbone=backbone), NUM_CLASSES)


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("torchvision/mobilenet_v3_small", "are for timm backbones"),
        ("densenet121", "does not know one of drop_path_rate"),
    ],
)
def test_a_setting_that_a_backbone_does_not_know_is_refused(backbone: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        empty_network(Model(backbone=backbone, drop_path=0.1), NUM_CLASSES)
