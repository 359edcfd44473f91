import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from chajong.errors import DataError
from chajong.training.loader import Batches, Examples, Feed
from chajong.training.world import World
from tests.training.tiny import ALONE, CPU, make_examples


def batches(num_photos: int = 24, batch_size: int = 5, world: World = ALONE) -> Batches:
    return Batches(make_examples(num_photos), batch_size, (42, 0), world)


def numbered(num_photos: int) -> Examples:
    """Photo i is filled with the number i and of class i."""
    rows = np.random.default_rng(0).permutation(num_photos)
    pixels = np.empty((num_photos, 2, 2, 3), np.uint8)
    pixels[rows] = np.arange(num_photos)[:, None, None, None]
    return Examples(pixels, rows, np.arange(num_photos))


def order(batches: Batches, epoch: int) -> list[int]:
    return [int(label) for _, _, targets in batches.epoch(epoch) for label in targets]


def test_a_photo_keeps_its_class_and_epochs_are_shuffled_anew() -> None:
    found = Batches(numbered(20), 5, (42, 0), ALONE)
    for _, photos, targets in found.epoch(3):
        assert photos.dtype == torch.uint8
        assert photos.shape == (5, 2, 2, 3)
        assert torch.equal(photos[:, 0, 0, 0].long(), targets)
    first, second = order(found, 0), order(found, 1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second != sorted(second)
    assert order(found, 0) == first


def test_folds_and_seeds_are_shuffled_differently() -> None:
    orders = {
        tuple(order(Batches(numbered(20), 5, key, ALONE), 0)) for key in ((1, 0), (1, 1), (2, 0))
    }
    assert len(orders) == 3


@pytest.mark.parametrize(
    ("num_photos", "batch_size", "rows", "num_steps"),
    [(24, 5, 5, 4), (24, 24, 24, 1), (10, 64, 10, 1), (11, 64, 10, 1), (2, 64, 2, 1)],
)
def test_every_batch_is_full(num_photos: int, batch_size: int, rows: int, num_steps: int) -> None:
    found = batches(num_photos, batch_size)
    assert (found.rows, found.num_steps) == (rows, num_steps)
    sizes = [len(targets) for _, _, targets in found.epoch(0)]
    assert sizes == [rows] * num_steps


@pytest.mark.parametrize("size", [2, 4])
def test_processes_share_the_global_batch(size: int) -> None:
    whole = Batches(numbered(24), 8, (42, 0), ALONE)
    parts = [Batches(numbered(24), 8, (42, 0), World(rank, size, CPU)) for rank in range(size)]
    for step in range(3):
        _, targets = whole.load(2, step)
        pieces = [part.load(2, step)[1] for part in parts]
        assert torch.equal(torch.cat(pieces), targets)


def test_going_on_from_a_step_gives_the_batches_that_are_left() -> None:
    found = batches()
    whole = list(found.epoch(1))
    for start in range(5):
        rest = list(found.epoch(1, start))
        assert [step for step, _, _ in rest] == list(range(start, 4))
        for a, b in zip(rest, whole[start:], strict=True):
            assert torch.equal(a[1], b[1])
            assert torch.equal(a[2], b[2])


def test_too_few_photos_are_refused() -> None:
    with pytest.raises(DataError, match="At least 2 photos"):
        batches(1)
    with pytest.raises(DataError, match="Use one process"):
        batches(6, 8, World(0, 2, CPU))


class EagerFeed(Feed):
    """Reads ahead on a CPU too, where a feed has no reason to."""

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        return self._read_ahead()


def threads() -> int:
    return threading.active_count()


def test_reading_ahead_gives_the_same_batches() -> None:
    found, before = batches(), threads()
    ahead, plain = list(EagerFeed(found, 1, 1)), list(found.epoch(1, 1))
    assert [step for step, _, _ in ahead] == [1, 2, 3]
    for a, b in zip(ahead, plain, strict=True):
        assert torch.equal(a[1], b[1])
        assert torch.equal(a[2], b[2])
    assert threads() == before


@dataclass(frozen=True)
class Failing(Examples):
    """Cannot be read from the second batch on."""

    def take(self, chosen: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        if 0 in chosen:
            raise OSError("the disk is gone")
        return super().take(chosen)


def test_an_error_while_reading_ahead_reaches_the_loop() -> None:
    examples, before = make_examples(), threads()
    failing = Failing(examples.pixels, examples.rows, examples.targets)
    feed = EagerFeed(Batches(failing, 4, (42, 0), ALONE), 0, 0)
    with pytest.raises(OSError, match="the disk is gone"):
        list(feed)
    assert threads() == before


def leave_early(feed: Feed) -> None:
    for _ in feed:
        assert threading.active_count() > 1
        raise KeyboardInterrupt


def test_leaving_the_loop_ends_the_thread() -> None:
    # A device that is not the CPU and keeps nothing.
    elsewhere = World(0, 1, torch.device("meta"))
    before = threads()
    for _ in batches(world=elsewhere).epoch(0):
        break
    assert threads() == before
    with pytest.raises(KeyboardInterrupt):
        leave_early(batches(world=elsewhere).epoch(0))
    assert threads() == before


def test_waiting_is_measured() -> None:
    class SlowExamples(Examples):
        def take(self, chosen: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
            time.sleep(0.02)
            return super().take(chosen)

    examples = make_examples()
    slow = SlowExamples(examples.pixels, examples.rows, examples.targets)
    feed = Batches(slow, 8, (42, 0), ALONE).epoch(0)
    list(feed)
    assert feed.waited_s >= 0.06
