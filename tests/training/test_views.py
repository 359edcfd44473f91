"""Views: what each shows of a photo."""

from typing import get_args

import pytest
import torch
from torch.nn import functional

from chajong.recipe import ViewName
from chajong.training.views import VIEWS, side_of


def _photo(side: int = 96) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_recipes_know_every_view() -> None:
    assert tuple(VIEWS) == get_args(ViewName)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_a_photo_and_leaves_the_photo_alone(name: str) -> None:
    x = _photo()
    before = x.clone()
    seen = VIEWS[name](x)
    assert seen.shape[:2] == (2, 3)
    assert seen.shape[2] == seen.shape[3]
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= 1
    assert torch.equal(x, before)
    # Each photo by itself, whatever stands beside it.
    torch.testing.assert_close(VIEWS[name](x[1:]), seen[1:])
    if name != "plain":
        assert seen.shape != x.shape or not torch.allclose(seen, x, atol=0.05)


def test_views_show_where_they_say() -> None:
    # A photo that is white right of the middle and black left of it.
    x = torch.zeros(1, 3, 96, 96)
    x[..., 48:] = 1
    share = {name: float(view(x).mean()) for name, view in VIEWS.items()}
    assert share["left"] < 0.45 < 0.55 < share["right"]
    torch.testing.assert_close(VIEWS["flip"](x), 1 - x)
    assert float(VIEWS["letterbox"](x)[0, 0, :12].std()) == 0  # grey above
    assert float(VIEWS["square_crop"](x)[0, 0, :12].std()) > 0.4
    assert (
        float(VIEWS["brighter"](x * 0.5).max())
        > 0.55
        > 0.45
        > float(VIEWS["darker"](x * 0.5).max())
    )


@pytest.mark.parametrize("side_px", [96, 128, 224])
def test_a_smaller_view_is_what_interpolate_makes(side_px: int) -> None:
    x = torch.rand(2, 3, side_px, side_px, generator=torch.Generator().manual_seed(0))
    found = VIEWS["small"](x)
    size = (side_of("small", side_px),) * 2
    assert size < x.shape[2:]
    wanted = functional.interpolate(x, size, mode="bilinear", antialias=True)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
