"""Training speed: the whole step against the bare step, and what the allocator is worth.

    python -m benchmarks.training_speed DATA --weights FILE [--recipe cars-fast]

Prints, all measured side by side in one run:
1. photos a second of the training loop at steady state (reading, augmenting and mixing included)
   and of the same step on one batch that stays in memory, at each size of the recipe, with their
   ratio;
2. photos a second of a training step and of eager inference at 224 px, with the C allocator as it
   comes and as chajong sets it, each in a process of its own, with their ratio.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from chajong.photos.audit import audit
from chajong.photos.cache import build_cache, default_cache_folder
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.training.allocator import keep_large_blocks
from chajong.training.fit import Fit
from chajong.training.fold import Fold
from chajong.training.loader import Examples
from chajong.training.model import evaluation_preprocess
from chajong.training.optim import choose_what_learns
from chajong.training.weights import build_network
from chajong.training.world import World, pick_device


def make_fit(data: Path, recipe: Recipe, folder: Path) -> Fit:
    manifest = audit(data)
    rows = manifest.trainable()
    files = {
        sha256: manifest.path_of(path)
        for sha256, path in zip(rows["sha256"], rows["path"], strict=True)
    }
    cache = build_cache(files, evaluation_preprocess(recipe), default_cache_folder() / "photos")
    places = np.array([cache.rows[sha256] for sha256 in rows["sha256"]], dtype=np.intp)
    examples = Examples(cache.pixels, places, manifest.labels.indices(rows["label"].to_list()))
    num_classes = len(manifest.labels.names)
    network, source = build_network(recipe.model, num_classes, allow_noncommercial=True)
    fold = Fold("all", examples, None, num_classes, manifest.labels.canonical, folder)
    return Fit(recipe, fold, network, source.mean, source.std, World(0, 1, pick_device()))


def rate(step: Callable[[], object], num_steps: int, rows: int) -> float:
    begin = time.perf_counter()
    for _ in range(num_steps):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return num_steps * rows / (time.perf_counter() - begin)


def whole_against_bare(fit: Fit, size_px: int, rounds: int, num_steps: int) -> None:
    choose_what_learns(fit.network, False, fit.recipe.model.frozen_stages)
    rows = fit.batches.rows

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from (fit.see(*batch, size_px) for batch in fit.batches.epoch(0))

    seen = read()
    same = following = next(seen)

    def bare() -> None:
        float(fit.learn(fit.network, 0, *same))
        fit.update()

    def whole() -> None:  # as `Fit` does it
        nonlocal following
        loss = fit.learn(fit.network, 0, *following)
        following = next(seen)
        float(loss)
        fit.update()

    for warm in (bare, whole):
        rate(warm, 3, rows)
    pairs = [(rate(whole, num_steps, rows), rate(bare, num_steps, rows)) for _ in range(rounds)]
    ratio = median(a / b for a, b in pairs)
    whole_rate, bare_rate = (median(column) for column in zip(*pairs, strict=True))
    print(
        f"{size_px} px: loop {whole_rate:.1f} photos/s, bare step {bare_rate:.1f} photos/s, "
        f"ratio {ratio:.3f} (median of {rounds} pairs)"
    )


def alone(kind: str, keep: bool, weights: str) -> float:
    if keep:
        keep_large_blocks()
    recipe = load_recipe("resnet50", ["model.backbone=mobilenetv2_100", f"model.weights={weights}"])
    network, _ = build_network(recipe.model, 196)
    network = network.to(memory_format=torch.channels_last)
    x = torch.rand(64, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    truth = torch.randint(0, 196, (64,))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4)

    def train() -> None:
        loss: torch.Tensor = torch.nn.functional.cross_entropy(network(x), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()

    @torch.inference_mode()
    def infer() -> None:
        network(x)

    step = train if kind == "train" else infer
    network.train(kind == "train")
    rate(step, 2, 64)
    return rate(step, 6, 64)


def allocator(weights: str) -> None:
    for kind in ("train", "infer"):
        found: dict[str, list[float]] = {"plain": [], "keep": []}
        for _ in range(2):
            for mode in found:
                command = [sys.executable, "-m", "benchmarks.training_speed", "--alone", kind, mode]
                done = subprocess.run(
                    [*command, "--weights", weights], capture_output=True, text=True, check=True
                )
                found[mode].append(float(done.stdout))
        plain, keep = median(found["plain"]), median(found["keep"])
        print(
            f"{kind} at 224 px, batch 64: allocator as it comes {plain:.1f} photos/s, "
            f"large blocks kept {keep:.1f} photos/s, ratio {keep / plain:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--recipe", default="cars-fast")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--alone", nargs=2)
    asked = parser.parse_args()
    if asked.alone:
        kind, mode = asked.alone
        print(alone(kind, mode == "keep", asked.weights))
        return
    if asked.data is None:
        parser.error("DATA is needed: a folder of labelled photos")
    keep_large_blocks()
    recipe = load_recipe(asked.recipe, [f"model.weights={asked.weights}"])
    print(f"{torch.get_num_threads()} threads, device {pick_device()}, recipe {recipe.name}")
    with tempfile.TemporaryDirectory() as folder:
        fit = make_fit(asked.data, recipe, Path(folder))
        sizes = dict.fromkeys([recipe.data.size_px, *(step.size_px for step in recipe.data.grow)])
        for size_px in sizes:
            whole_against_bare(fit, size_px, asked.rounds, asked.steps)
    allocator(asked.weights)


if __name__ == "__main__":
    main()
