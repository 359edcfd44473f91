"""Serving speed: a plain loop over timm against the bundle of a run, on the same photos.

    python -m benchmarks.serving_speed RUN PHOTOS [--labels FILE] [--rounds 5] [--memory]
        [--bundle FOLDER]

RUN has one model that looks one way. It is exported as `chajong export RUN` does, unless a bundle
of it is given, and measured in rounds, each side alone in a process of its own and the order
turned from round to round, so that other work on the machine is unfair to none:
1. photos a second of a plain loop over RUN's network: timm's transform, PIL, a DataLoader with 2
   workers, batches of 64, eager, the allocator set as in training;
2. photos a second of `chajong predict BUNDLE`, from files to a file of answers, each way that was
   proven; the first is what it takes by itself;
3. photos a second of decoding alone and of inference alone, and with them the bound
   1 / (1/decode + 1/inference) that two things on the same cores cannot pass when one waits for the
   other.
With `--labels` (a CSV of ID and label) it prints how right both sides are. `--memory` measures the
memory of predicting 1,000 and 30,000 photos instead.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from chajong.bundle import Bundle
from chajong.bundle_facts import Proof
from chajong.environment import num_cores, peak_memory_bytes
from chajong.photos.preprocess import Squares
from chajong.photos.sources import Asked, Source, open_source
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.score import read_truth
from chajong.serving.engine import Engine, open_unchecked
from chajong.serving.predict import NUM_AT_ONCE, predict


@dataclass(frozen=True)
class Found:
    """Photos a second, or MiB; and how right the answers are."""

    pace: float = 0.0
    top1: float | None = None
    log_loss: float | None = None

    def accuracy(self) -> str:
        """Say how right."""
        if self.top1 is None:
            return ""
        return f" (top-1 {self.top1:.4f}, log loss {self.log_loss:.4f})"


def scored(log_probs: NDArray[np.floating], ids: Sequence[str], asked: argparse.Namespace) -> Found:
    """Top-1 and log loss of answers whose class is known."""
    if asked.labels is None:
        return Found()
    truth, labels = read_truth(asked.labels), Run.load(asked.run).labels
    rows = [row for row, each in enumerate(ids) if each in truth and np.isfinite(log_probs[row, 0])]
    classes = labels.indices([truth[ids[row]] for row in rows])
    top1 = float((log_probs[rows].argmax(axis=1) == classes).mean())
    return Found(top1=top1, log_loss=-float(log_probs[rows, classes].mean()))


def plain_loop(asked: argparse.Namespace) -> Found:
    """The loop that everybody writes, over the run's own network."""
    import timm
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from chajong.training.allocator import keep_large_blocks
    from chajong.training.weights import empty_network, load_weights

    keep_large_blocks()
    torch.set_num_threads(num_cores())
    run = Run.load(asked.run)
    network = empty_network(run.recipe.model, len(run.labels.names)).eval()
    load_weights(network, run.weights_path(run.done[0], "raw"))
    side_px = run.recipe.data.eval_px or run.recipe.data.size_px
    transform = timm.data.create_transform(
        (3, side_px, side_px),
        mean=run.record.mean,
        std=run.record.std,
        interpolation="bilinear",
        crop_pct=1.0,
        crop_mode="squash",
    )
    paths = sorted(asked.photos.rglob("*.jpg"))

    class Photos(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, place: int) -> torch.Tensor:
            made: torch.Tensor = transform(Image.open(paths[place]).convert("RGB"))
            return made

    start, parts = time.perf_counter(), []
    with torch.inference_mode():
        for batch in DataLoader(Photos(), batch_size=64, num_workers=2):
            parts.append((network(batch) / run.recipe.infer.temperature).log_softmax(dim=1))
    pace = len(paths) / (time.perf_counter() - start)
    ids = [path.stem for path in paths]
    return replace(scored(torch.cat(parts).numpy(), ids, asked), pace=pace)


def whole(engine: Engine, source: Source, out: Path) -> float:
    start = time.perf_counter()
    tally = predict(engine, source, out)
    return tally.num_photos / (time.perf_counter() - start)


def on_all_cores(work: Callable[[Sequence[Asked]], object], source: Source) -> float:
    """Photos a second of one half of the work, as the engine shares it out."""
    photos = list(source.photos())
    groups = [photos[start : start + NUM_AT_ONCE] for start in range(0, len(photos), NUM_AT_ONCE)]
    start = time.perf_counter()
    with ThreadPoolExecutor(num_cores()) as pool:
        for _ in pool.map(work, groups):
            pass
    return len(photos) / (time.perf_counter() - start)


def decode_alone(engine: Engine, source: Source) -> float:
    return on_all_cores(lambda some: [engine.prepare(one.read()) for one in some], source)


def inference_alone(engine: Engine, source: Source) -> float:
    squares = [engine.prepare(one.read()) for one in islice(source.photos(), NUM_AT_ONCE)]
    return on_all_cores(lambda some: engine.answer(squares[: len(some)]), source)


def repeated(source: Source, num_photos: int) -> Source:
    """The same photos again and again, each time with other ids."""

    def photos() -> Iterator[Asked]:
        again = (one for _ in cycle([0]) for one in source.photos())
        for place, one in enumerate(islice(again, num_photos)):
            yield replace(one, id=f"{place:07}/{one.id}")

    return Source(num_photos, photos)


def alone(asked: argparse.Namespace) -> Found:
    """What a child process measures."""
    kind, runtime, precision = asked.alone
    if kind == "plain":
        return plain_loop(asked)
    bundle = Bundle.load(asked.bundle)
    engine = open_unchecked(bundle, bundle.proof(runtime, precision), num_cores())
    source = open_source(str(asked.photos))
    few = [engine.prepare(one.read()) for one in islice(source.photos(), NUM_AT_ONCE)]
    with ThreadPoolExecutor(num_cores()) as pool:  # warm
        list(pool.map(engine.answer, [few] * 2 * num_cores()))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.parquet"
        match kind:
            case "whole":
                pace = whole(engine, source, out)
                made = Predictions.load(out)
                ids = [Path(each).stem for each in made.ids]
                return replace(scored(np.log(made.probabilities()), ids, asked), pace=pace)
            case "decode":
                return Found(decode_alone(engine, source))
            case "inference":
                return Found(inference_alone(engine, source))
            case "single":
                return Found(one_by_one(bundle, engine.proof, few[0]))
            case _:
                whole(engine, repeated(source, int(kind)), out)
                return Found(peak_memory_bytes() / 2**20)


def one_by_one(bundle: Bundle, proof: Proof, photo: Squares) -> float:
    """Photos a second, one after the other."""
    one = open_unchecked(bundle, proof, 1)
    for _ in range(5):
        one.answer([photo])
    start = time.perf_counter()
    for _ in range(100):
        one.answer([photo])
    return 100 / (time.perf_counter() - start)


def measured(asked: argparse.Namespace, bundle: Path, *what: str) -> Found:
    command = [sys.executable, "-m", "benchmarks.serving_speed", str(asked.run), str(asked.photos)]
    command += ["--bundle", str(bundle), "--alone", *what]
    if asked.labels is not None:
        command += ["--labels", str(asked.labels)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return Found(**json.loads(done.stdout))


def rounds(asked: argparse.Namespace, bundle: Path) -> None:
    ways = [(proof.runtime, proof.precision) for proof in Bundle.load(bundle).facts.proofs]
    sides: list[tuple[str, ...]] = [("plain", "-", "-"), ("decode", *ways[0])]
    sides += [(kind, *way) for way in ways for kind in ("whole", "inference", "single")]
    found: dict[tuple[str, ...], list[Found]] = {side: [] for side in sides}
    for turn in range(asked.rounds):
        for side in sides[:: 1 if turn % 2 == 0 else -1]:
            found[side].append(measured(asked, bundle, *side))
            print(f"round {turn + 1}: {' '.join(side)} {found[side][-1].pace:.1f}", flush=True)
    paces = {side: [each.pace for each in found[side]] for side in sides}
    plain, decode = paces[sides[0]], paces[sides[1]]
    said = found[sides[0]][0].accuracy()
    print(f"plain timm loop {median(plain):.0f} photos/s{said}; decode alone {median(decode):.0f}")
    for place, way in enumerate(ways):
        all_, inference = paces["whole", *way], paces["inference", *way]
        bounds = [1 / (1 / d + 1 / i) for d, i in zip(decode, inference, strict=True)]
        against = [a / p for a, p in zip(all_, plain, strict=True)]
        of_bound = median(a / b for a, b in zip(all_, bounds, strict=True))
        single_ms = 1e3 / median(paces["single", *way])
        print(
            f"{way[0]} {way[1]}{' (the default)' if place == 0 else ''}: {median(all_):.0f} "
            f"photos/s{found['whole', *way][0].accuracy()}, {median(against):.2f} times the plain "
            f"loop ({min(against):.2f} to {max(against):.2f}); inference alone "
            f"{median(inference):.0f}, {of_bound:.2f} of the bound {median(bounds):.0f}; one photo "
            f"{single_ms:.1f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--alone", nargs=3)
    asked = parser.parse_args()
    if asked.alone:
        print(json.dumps(asdict(alone(asked))))
        return
    from chajong.training.export import export  # not for the children, whose memory is measured

    run = Run.load(asked.run)
    if len(run.done) != 1 or len(run.recipe.infer.views) != 1 or run.recipe.data.aspect != "squash":
        raise SystemExit(f"{asked.run} has no single model that looks one way at squashed photos.")
    with tempfile.TemporaryDirectory() as folder:
        bundle = asked.bundle or export(asked.run, Path(folder) / "bundle").folder
        if asked.memory:
            first = Bundle.load(bundle).facts.proofs[0]
            for number in ("1000", "30000"):
                peak = measured(asked, bundle, number, first.runtime, first.precision)
                print(f"{int(number):,} photos: {peak.pace:.0f} MiB at most")
            return
        rounds(asked, bundle)


if __name__ == "__main__":
    main()
