"""What two views of a photo cost, compared with one, in one run.

    python -m benchmarks.view_cost [RUN] [--views plain flip] [--photos 256] [--rounds 5]

RUN is a run's folder: its trained models look, all of them at the same prepared pixels, as in
`chajong predict`. Without one, `cars-fast`'s network with random weights does. Photos are random
pixels of the size that the recipe evaluates at. One view and several are timed in turns; told are
the medians, and their ratio (target for two: at most 2.05 times one).
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from chajong.recipes import RECIPES
from chajong.run import Run
from chajong.training.allocator import keep_large_blocks
from chajong.training.infer import Eye
from chajong.training.precision import choose_precision
from chajong.training.predict import open_eye
from chajong.training.views import VIEWS
from chajong.training.weights import empty_network
from chajong.training.world import pick_device

BATCH = 64


def eyes_of(folder: Path | None) -> tuple[list[Eye], int]:
    """The models that look, and the side of a photo."""
    device = pick_device()
    if folder is not None:
        run = Run.load(folder)
        return [open_eye(run, name, device) for name in run.done], run.recipe.data.evaluation_px
    recipe = RECIPES["cars-fast"]
    network = empty_network(recipe.model, 196).to(device)
    network = network.to(memory_format=torch.channels_last)
    precision = choose_precision("auto", device)
    eye = Eye(network, device, precision, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return [eye], recipe.data.evaluation_px


def seconds(eyes: Sequence[Eye], photos: torch.Tensor, views: Sequence[str]) -> float:
    """Time of all models looking at all photos."""
    begin = time.perf_counter()
    for start in range(0, len(photos), BATCH):
        for view in views:
            x = eyes[0].prepare(photos[start : start + BATCH], view)
            for eye in eyes:
                eye.answer(x)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=["plain", "flip"])
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    keep_large_blocks()
    eyes, size_px = eyes_of(asked.run)
    shape = (asked.photos, size_px, size_px, 3)
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    one, several = asked.views[:1], asked.views
    for views in (one, several):
        seconds(eyes, photos[:BATCH], views)  # warm
    pairs = [
        (seconds(eyes, photos, one), seconds(eyes, photos, several)) for _ in range(asked.rounds)
    ]
    ratio = median(b / a for a, b in pairs)
    first, second = (median(column) / asked.photos * 1e3 for column in zip(*pairs, strict=True))
    print(
        f"{len(eyes)} model(s) at {size_px} px, {eyes[0].precision}, {eyes[0].device}: "
        f"one view {first:.2f} ms a photo, {len(several)} views {second:.2f} ms, "
        f"ratio {ratio:.3f} (median of {asked.rounds} pairs)"
    )


if __name__ == "__main__":
    main()
