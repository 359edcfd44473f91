import pytest
import torch
from torch import Tensor
from torch.nn import functional

from chajong.recipe_train import Mix
from chajong.training.draws import Draws
from chajong.training.mix import mix
from tests.training.tiny import CPU

SIDE_PX = 12


def photos(num_photos: int) -> Tensor:
    """Photo i is filled with the number i."""
    return torch.arange(num_photos).float().view(-1, 1, 1, 1).expand(-1, 3, SIDE_PX, SIDE_PX)


def targets(num_photos: int) -> Tensor:
    """Photo i is all of class i."""
    return functional.one_hot(torch.arange(num_photos)).float()


def mixed(recipe: Mix, num_photos: int = 6, step: int = 0) -> tuple[Tensor, Tensor]:
    draws = Draws((1, step), num_photos, slice(0, num_photos), CPU)
    return mix(photos(num_photos), targets(num_photos), recipe, draws)


def partner(i: int, num_photos: int) -> int:
    return min(i ^ 1, num_photos - 1)


@pytest.mark.parametrize("recipe", [Mix(mixup=0.4), Mix(cutmix=1.0), Mix(mixup=0.4, cutmix=1.0)])
@pytest.mark.parametrize("num_photos", [2, 6, 7])
@pytest.mark.parametrize("step", range(6))
def test_targets_say_what_the_photos_show(recipe: Mix, num_photos: int, step: int) -> None:
    x, shares = mixed(recipe, num_photos, step)
    assert x.shape == (num_photos, 3, SIDE_PX, SIDE_PX)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(num_photos))
    assert (shares >= 0).all()
    for i in range(num_photos):
        other = partner(i, num_photos)
        apart = [label for label in range(num_photos) if label not in (i, other)]
        assert not shares[i, apart].any()  # pairs only
        # The mean over the pixels is the mean over the targets, for mixup and CutMix alike.
        wanted = shares[i, i] * i + (shares[i, other] * other if other != i else 0)
        assert x[i].mean().item() == pytest.approx(wanted.item(), abs=1e-5)


@pytest.mark.parametrize("step", range(6))
def test_mixup_blends_every_pixel_by_the_targets_share(step: int) -> None:
    x, shares = mixed(Mix(mixup=0.4), step=step)
    for i in range(6):
        wanted = shares[i, i] * i + shares[i, i ^ 1] * (i ^ 1)
        torch.testing.assert_close(x[i], torch.full_like(x[i], wanted.item()))


@pytest.mark.parametrize("step", range(6))
def test_cutmix_takes_whole_pixels_and_their_exact_share(step: int) -> None:
    x, shares = mixed(Mix(cutmix=1.0), step=step)
    for i in range(6):
        theirs = x[i, 0] == (i ^ 1)
        assert (theirs | (x[i, 0] == i)).all()
        assert shares[i, i ^ 1].item() == pytest.approx(theirs.sum().item() / SIDE_PX**2, abs=1e-6)
        box = theirs.any(dim=1)[:, None] & theirs.any(dim=0)[None, :]
        assert torch.equal(theirs, box)


def test_the_share_follows_the_beta_distribution() -> None:
    many = 2000
    draws = Draws((1,), many, slice(0, many), CPU)
    small = torch.zeros(many, 3, 1, 1)
    half = functional.one_hot(torch.arange(many) % 2, 2).float()
    _, shares = mix(small, half, Mix(mixup=0.2), draws)
    own = shares[::2, 0]
    assert own.mean().item() == pytest.approx(0.5, abs=0.04)
    # Beta(a, a) has the variance 1 / (4 (2a + 1)).
    assert own.var().item() == pytest.approx(1 / (4 * 1.4), abs=0.02)


@pytest.mark.parametrize("recipe", [Mix(), Mix(mixup=0.4, p=0), Mix(cutmix=1, p=0)])
def test_off_means_untouched(recipe: Mix) -> None:
    x, shares = mixed(recipe)
    assert torch.equal(x, photos(6))
    assert torch.equal(shares, targets(6))


def test_as_many_batches_are_mixed_as_p_says() -> None:
    untouched = sum(
        torch.equal(mixed(Mix(cutmix=1.0, p=0.4), step=step)[1], targets(6)) for step in range(400)
    )
    assert untouched / 400 == pytest.approx(0.6, abs=0.07)


def test_with_both_on_batches_take_one_or_the_other() -> None:
    whole = 0
    for step in range(200):
        x, _ = mixed(Mix(mixup=0.4, cutmix=1.0), step=step)
        whole += bool((x == x.round()).all())
    assert whole / 200 == pytest.approx(0.5, abs=0.12)


def test_the_photos_given_are_not_changed() -> None:
    x, y = photos(6).clone(), targets(6)
    mix(x, y, Mix(mixup=0.4), Draws((1,), 6, slice(0, 6), CPU))
    mix(x, y, Mix(cutmix=0.4), Draws((1,), 6, slice(0, 6), CPU))
    assert torch.equal(x, photos(6))
    assert torch.equal(y, targets(6))


def test_the_split_into_processes_changes_nothing() -> None:
    x, y, recipe = torch.rand(8, 3, 6, 6), targets(8), Mix(mixup=0.4, cutmix=1.0)
    for step in range(4):
        whole = mix(x, y, recipe, Draws((1, step), 8, slice(0, 8), CPU))
        halves = [
            mix(x[rows], y[rows], recipe, Draws((1, step), 8, rows, CPU))
            for rows in (slice(0, 4), slice(4, 8))
        ]
        for part, of_whole in zip(zip(*halves, strict=True), whole, strict=True):
            torch.testing.assert_close(torch.cat(part), of_whole)
