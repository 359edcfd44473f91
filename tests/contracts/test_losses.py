"""One contract over every loss a recipe can name."""

from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from chajong.recipe_train import CrossEntropy, Focal, Loss, Poly
from chajong.training.losses import focal, inverse_frequency, make_loss

COUNTS = torch.tensor([50, 3, 0, 11, 1])
AnyLoss = CrossEntropy | Focal | Poly
LOSSES: tuple[AnyLoss, ...] = (
    CrossEntropy(),
    CrossEntropy(smoothing=0.1),
    Focal(gamma=0.0),
    Focal(gamma=0.5),
    Focal(gamma=2.0),
    Focal(gamma=0.0, alpha="inverse_frequency"),
    Focal(gamma=0.5, alpha="inverse_frequency"),
    Focal(gamma=2.0, alpha="inverse_frequency"),
    Poly(),
    Poly(epsilon=2.5, smoothing=0.1),
    Poly(epsilon=-0.5),
)
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
kinds_of_targets = pytest.mark.parametrize("kind", ["hard", "soft"])


def logits_and_targets(kind: str, num_photos: int = 16) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(7)
    logits = torch.from_numpy(random.normal(0, 3, (num_photos, 5)).astype(np.float32))
    if kind == "soft":
        return logits, torch.from_numpy(
            random.dirichlet(np.full(5, 0.5), num_photos).astype(np.float32)
        )
    classes = torch.from_numpy(random.choice([0, 1, 3, 4], num_photos))
    return logits, functional.one_hot(classes, 5).float()


def slowly(loss: AnyLoss, logits: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """The loss as its paper has it, number by number, in float64."""
    counts = COUNTS.numpy()
    present = [count for count in counts if count]
    losses = []
    for scores, wanted in zip(logits, targets, strict=True):
        shifted = [np.exp(score - max(scores)) for score in scores]
        probs = [number / sum(shifted) for number in shifted]
        total = 0.0
        if isinstance(loss, Poly):
            total += loss.epsilon * sum(w * (1 - p) for w, p in zip(wanted, probs, strict=True))
        for label, prob in enumerate(probs):
            share, weight = wanted[label], 1.0
            if isinstance(loss, CrossEntropy | Poly):
                share = share * (1 - loss.smoothing) + loss.smoothing / len(probs)
            else:
                # (1 - p) as the sum of the others keeps the digits.
                others = sum(p for other, p in enumerate(probs) if other != label)
                weight = others**loss.gamma
                if loss.alpha is not None:
                    count = counts[label]
                    weight *= sum(present) / len(present) / count if count else 0.0
            total -= share * weight * np.log(prob)
        losses.append(total)
    return float(np.mean(losses))


def test_every_kind_of_loss_is_under_contract() -> None:
    members = get_args(get_args(Loss)[0])
    assert {type(loss) for loss in LOSSES} == set(members)


@every_loss
@kinds_of_targets
def test_equals_the_slow_formula(loss: AnyLoss, kind: str) -> None:
    logits, targets = logits_and_targets(kind)
    wanted = slowly(loss, logits.double().numpy(), targets.double().numpy())
    assert make_loss(loss, COUNTS)(logits, targets).item() == pytest.approx(wanted, rel=1e-5)


@every_loss
@kinds_of_targets
def test_gradient_equals_the_slow_formulas(loss: AnyLoss, kind: str) -> None:
    logits, targets = logits_and_targets(kind, num_photos=3)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(make_loss(loss, COUNTS)(logits, targets), logits)
    at, wanted = logits.detach().double().numpy(), targets.double().numpy()
    for place in np.ndindex(*at.shape):
        step = np.zeros_like(at)
        step[place] = 1e-5
        slope = (slowly(loss, at + step, wanted) - slowly(loss, at - step, wanted)) / 2e-5
        assert gradient[place].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


@every_loss
def test_a_hard_target_is_a_soft_one_with_all_on_one_class(loss: AnyLoss) -> None:
    logits, targets = logits_and_targets("hard")
    almost = targets * (1 - 1e-6) + 1e-6 / 5
    compute = make_loss(loss, COUNTS)
    assert compute(logits, almost).item() == pytest.approx(
        compute(logits, targets).item(), rel=1e-3
    )


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(gamma=0.0), Poly(epsilon=0)], ids=repr)
def test_the_neutral_setting_is_cross_entropy(loss: AnyLoss) -> None:
    logits, targets = logits_and_targets("hard")
    wanted = functional.cross_entropy(logits, targets.argmax(dim=1)).item()
    assert make_loss(loss, COUNTS)(logits, targets).item() == pytest.approx(wanted, abs=1e-6)
    logits, targets = logits_and_targets("soft")
    wanted = functional.cross_entropy(logits, targets).item()
    assert make_loss(loss, COUNTS)(logits, targets).item() == pytest.approx(wanted, abs=1e-6)


@every_loss
@kinds_of_targets
@pytest.mark.parametrize(
    "rows",
    [
        [[1e4, -1e4, 0, 0, 0], [-1e4, 1e4, 0, 0, 0]],
        [[1e4, 1e4, 1e4, 1e4, 1e4], [-1e4, -1e4, -1e4, -1e4, -1e4]],
        [[200, 0, 0, 0, 0], [0, 0, 0, 0, 200]],  # p is 1 to the last digit, or 0
        [[17, 0, 0, 0, 0], [16.6, 0, 0, 0, 0]],  # 1 - p is the last digit
    ],
)
def test_extreme_logits_give_finite_losses_and_gradients(
    loss: AnyLoss, kind: str, rows: list[list[float]]
) -> None:
    logits = torch.tensor(rows, dtype=torch.float32, requires_grad=True)
    for label in range(5):
        targets = functional.one_hot(torch.tensor([label, label]), 5).float()
        if kind == "soft":
            targets = 0.7 * targets + 0.3 / 5
        found = make_loss(loss, COUNTS)(logits, targets)
        (gradient,) = torch.autograd.grad(found, logits)
        assert torch.isfinite(found)
        assert found >= 0
        assert torch.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_a_float32_loss(loss: AnyLoss, half: torch.dtype) -> None:
    logits, targets = logits_and_targets("soft")
    rounded = logits.to(half)
    found = make_loss(loss, COUNTS)(rounded, targets)
    assert found.dtype == torch.float32
    assert found.item() == make_loss(loss, COUNTS)(rounded.float(), targets).item()


def test_class_weights_do_not_enter_the_focusing() -> None:
    # With a weighted p_t, doubling the weight would do more, or less, than double the loss.
    logits, targets = logits_and_targets("hard", num_photos=1)
    alpha = torch.full((5,), 2.0)
    once, twice = focal(logits, targets, 2.0), focal(logits, targets, 2.0, alpha)
    assert twice.item() == pytest.approx(2 * once.item(), rel=1e-6)


def test_soft_targets_weigh_each_class_by_its_own_alpha() -> None:
    logits = torch.zeros(1, 2)
    targets, alpha = torch.tensor([[0.25, 0.75]]), torch.tensor([8.0, 4.0])
    wanted = (0.25 * 8 + 0.75 * 4) * 0.5**2 * np.log(2)
    assert focal(logits, targets, 2.0, alpha).item() == pytest.approx(wanted, rel=1e-6)


def test_a_rare_class_weighs_more_and_the_mean_photo_one() -> None:
    alpha = inverse_frequency(COUNTS)
    assert alpha[2] == 0  # no photo, no weight, and no division by zero
    assert (alpha * COUNTS).sum().item() / COUNTS.sum().item() == pytest.approx(1)
    assert (alpha[4] / alpha[0]).item() == pytest.approx(50)


def test_gamma_plays_down_easy_photos() -> None:
    logits, targets = torch.tensor([[4.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    plain, focused = focal(logits, targets, 0.0), focal(logits, targets, 2.0)
    assert focused / plain < 0.01
