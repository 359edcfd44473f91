import numpy as np
import pytest
import torch

from chajong.training.draws import Draws
from tests.training.tiny import CPU


def draws(step: int = 0, num_rows: int = 6, rows: slice | None = None) -> Draws:
    return Draws((1, 2, 3, step), num_rows, rows or slice(0, num_rows), CPU)


def everything(d: Draws) -> list[torch.Tensor]:
    return [
        d.uniform(-1, 3),
        d.chance(0.5).float() + d.uniform(0, 1),
        torch.from_numpy(d.choices(1000)),
        d.pair_beta(0.4),
        d.pair_uniform(),
        d.uniform(0, 1),
    ]


def test_a_step_draws_the_same_again_and_another_step_something_else() -> None:
    first, again, other = everything(draws()), everything(draws()), everything(draws(1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_neither_the_global_generators_nor_other_draws_matter() -> None:
    first = everything(draws())
    torch.manual_seed(3)
    torch.rand(5)
    np.random.default_rng(3).random()
    draws(7).uniform(0, 1)
    for a, b in zip(first, everything(draws()), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_draw_their_rows_of_the_whole(num_processes: int) -> None:
    size = 6 // num_processes
    parts = [
        everything(draws(rows=slice(rank * size, (rank + 1) * size)))
        for rank in range(num_processes)
    ]
    for whole, *pieces in zip(everything(draws()), *parts, strict=True):
        assert torch.equal(torch.cat(pieces), whole)


def test_one_number_is_the_same_on_all_processes() -> None:
    assert draws(rows=slice(0, 3)).once() == draws(rows=slice(3, 6)).once()


@pytest.mark.parametrize("num_rows", [2, 6, 7])
def test_pairs_share_their_numbers(num_rows: int) -> None:
    d = draws(num_rows=num_rows)
    for values in (d.pair_beta(0.4), d.pair_uniform()):
        assert len(values) == num_rows
        assert torch.equal(values[: num_rows // 2 * 2 : 2], values[1::2])
        assert len(set(values.tolist())) == (num_rows + 1) // 2
        assert values.min() >= 0
        assert values.max() <= 1


def test_numbers_lie_where_they_should() -> None:
    values = draws(num_rows=4000).uniform(-1, 3)
    assert values.min() >= -1
    assert values.max() < 3
    assert values.mean().item() == pytest.approx(1, abs=0.1)
    assert draws(num_rows=4000).chance(0.2).float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert not draws(num_rows=4000).chance(0).any()
    assert draws(num_rows=4000).chance(1).all()
