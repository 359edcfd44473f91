"""That a training makes nothing on the wrong device: pretended on a GPU that need not be there.

PyTorch's fake tensors have shapes, types and devices, but no numbers; an operation on two devices
fails as it would on a GPU. Autocast and backward passes need a real one.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from chajong.recipe_augment import (
    Augment,
    AutoContrast,
    ColorJitter,
    Crop,
    Flip,
    GaussianBlur,
    Light,
    RandAugment,
    RandomErasing,
    Rotation,
    TrivialAugment,
    VerticalFlip,
)
from chajong.recipe_model import CosineHead, Gem, Model
from chajong.recipe_train import Distil, Mix
from chajong.training.augment import augment, normalise
from chajong.training.average import measure_norms
from chajong.training.draws import Draws
from chajong.training.infer import Eye
from chajong.training.losses import make_loss
from chajong.training.mix import mix
from chajong.training.precision import autocast
from chajong.training.teacher import Teacher
from chajong.training.views import VIEWS
from chajong.training.weights import empty_network
from tests.contracts.test_losses import LOSSES
from tests.training.tiny import MEAN, STD

GPU = torch.device("cuda", 0)
CHANGES: tuple[Augment, ...] = (
    *(Crop(), Flip(), VerticalFlip(), Rotation(), ColorJitter(hue=0.1)),
    *(Light(gamma=(0.5, 2)), AutoContrast(), GaussianBlur(), RandomErasing()),
    *(TrivialAugment(), RandAugment()),
)


def draws() -> Draws:
    return Draws((1, 2, 3), 8, slice(0, 8), GPU)


def a_network(**more: Any) -> torch.nn.Module:
    with GPU:  # made there: fake tensors cannot be moved
        return empty_network(Model(backbone="test_resnet", weights="none", **more), 5)


@pytest.fixture(autouse=True)
def _pretended() -> Iterator[None]:
    with FakeTensorMode():
        yield


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_step_of_training_stays_on_the_gpu(loss: Any) -> None:
    photos = torch.zeros(8, 40, 40, 3, dtype=torch.uint8, device=GPU)
    x = normalise(augment(photos, CHANGES, 32, draws()), MEAN, STD)
    soft = torch.zeros(8, 5, device=GPU)
    for recipe in (Mix(mixup=0.4), Mix(cutmix=1.0)):
        x, soft = mix(x, soft, recipe, draws())
    network = a_network(gem=Gem(), cosine=CosineHead())
    theirs = Eye(a_network(), GPU, "fp32", (0.4, 0.4, 0.4), STD, 0.7)
    soft = Teacher((theirs,), Distil(online=True), MEAN, STD).teach(x, soft)
    with autocast(GPU, "fp32"):
        logits = network(x)
    counts = torch.ones(5, dtype=torch.long, device=GPU)
    value = make_loss(loss, counts)(logits, soft)
    assert {x.device, soft.device, logits.device, value.device} == {GPU}


def test_the_average_stays_on_the_gpu() -> None:
    network, average = a_network().train(), a_network()
    x = torch.zeros(4, 3, 32, 32, device=GPU)
    measure_norms(average, network, [x, x], autocast(GPU, "fp32"))
    assert {value.device for value in average.state_dict().values()} == {GPU}


@pytest.mark.parametrize("view", VIEWS)
def test_views_stay_on_the_gpu(view: str) -> None:
    seen = Eye(a_network(), GPU, "fp32", MEAN, STD).prepare(
        torch.zeros(2, 64, 64, 3, dtype=torch.uint8), view
    )
    assert seen.device == GPU
