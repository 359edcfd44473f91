"""Serving speed: a plain loop over timm against a bundle's engine, on the same photos.

    python -m benchmarks.serving_speed PHOTOS --weights FILE [--labels FILE.csv] [--rounds 5]

Makes a run's folder around a network of the given weights (its head is untrained, which changes no
time), exports it, and measures in rounds, each side alone in a process of its own and the order
turned from round to round, so that other work on the machine is unfair to none:
1. photos a second of a plain loop: timm, PIL, a DataLoader with 2 workers, batches of 64, eager,
   the allocator set as in training;
2. photos a second of `chajong predict BUNDLE`, from files to a file of answers, in each runtime and
   number format that this machine computes;
3. photos a second of decoding alone and of inference alone, and with them the bound
   1 / (1/decode + 1/inference) that two things on the same cores cannot pass when one waits for the
   other.
Last, the memory of predicting 1,000 and 30,000 photos (`--memory`).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np

from chajong.bundle import Bundle
from chajong.bundle_facts import Proof
from chajong.choices import Precision, Runtime
from chajong.environment import num_cores, peak_memory_bytes
from chajong.photos.sources import Asked, Source, open_source
from chajong.serving.engine import Engine, open_unchecked
from chajong.serving.predict import NUM_AT_ONCE, predict
from chajong.serving.runtimes import has

WAYS: tuple[tuple[Runtime, Precision], ...] = (
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)


def make_bundle(weights: str, size_px: int, photos: Path, out: Path) -> None:
    """A bundle of one network with one view; proofs are not needed to measure time."""
    import torch

    from chajong.blending.blend import Blend, Member
    from chajong.bundle import FORMAT
    from chajong.bundle_facts import Facts, Golden
    from chajong.catalogue import known_catalogue
    from chajong.graph import Graph
    from chajong.labels import Labels
    from chajong.photos.preprocess import Preprocess
    from chajong.recipe import Model
    from chajong.training.graph import write_graph
    from chajong.training.infer import Eye
    from chajong.training.quantise import quantise
    from chajong.training.weights import build_network

    labels = Labels(tuple(f"class {place:03}" for place in range(196)))
    model = Model(backbone="mobilenetv2_100", weights=weights)
    network, source = build_network(model, len(labels.names), allow_noncommercial=True)
    eye = Eye(network.eval(), torch.device("cpu"), "fp32", source.mean, source.std)
    (out / "members").mkdir(parents=True)
    write_graph([eye], ("plain",), size_px, out / "members" / "0.onnx")
    way = Preprocess(size_px, "squash")
    some = np.stack([way(one.read()) for one in islice(open_source(str(photos)).photos(), 64)])
    quantise(out / "members" / "0.onnx", some, out / "members" / "0.int8.onnx")
    blend = Blend(labels.names, (), (Member("0", "", ("plain",), (1.0,)),), "linear", 1.0, None, ())
    files = {"fp32": "members/0.onnx", "int8": "members/0.int8.onnx"}
    graph = Graph(size_px, "squash", ("all",), files)  # type: ignore[arg-type]
    proofs = tuple(Proof(runtime, precision, 0, 1.0, 0.0) for runtime, precision in WAYS)
    facts = Facts(FORMAT, "benchmark", "", "benchmark", blend, (graph,), proofs)
    cars = known_catalogue().narrowed(labels.names)
    Bundle(out, facts, labels, cars, Golden((), {}), "").save({}, "")


def plain_loop(photos: Path, size_px: int, num_threads: int) -> float:
    """The loop that everybody writes."""
    import timm
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from chajong.training.allocator import keep_large_blocks

    keep_large_blocks()
    torch.set_num_threads(num_threads)
    network = timm.create_model("mobilenetv2_100", num_classes=196).eval()
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(
        **{**config, "input_size": (3, size_px, size_px), "crop_pct": 1.0}, is_training=False
    )
    paths = sorted(path for path in photos.rglob("*.jpg"))

    class Photos(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, place: int) -> torch.Tensor:
            made: torch.Tensor = transform(Image.open(paths[place]).convert("RGB"))
            return made

    start = time.perf_counter()
    with torch.inference_mode():
        for batch in DataLoader(Photos(), batch_size=64, num_workers=2):
            network(batch).softmax(dim=1).argmax(dim=1)
    return len(paths) / (time.perf_counter() - start)


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


def alone(asked: argparse.Namespace) -> float:
    """What a child process measures."""
    kind, runtime, precision = asked.alone
    if kind == "plain":
        return plain_loop(asked.photos, asked.size, num_cores())
    bundle = Bundle.load(asked.bundle)
    engine = open_unchecked(bundle, bundle.proof(runtime, precision), num_cores())
    source = open_source(str(asked.photos))
    few = [engine.prepare(one.read()) for one in islice(source.photos(), NUM_AT_ONCE)]
    with ThreadPoolExecutor(num_cores()) as pool:  # warm
        list(pool.map(engine.answer, [few] * 2 * num_cores()))
    with tempfile.TemporaryDirectory() as folder:
        match kind:
            case "whole":
                return whole(engine, source, Path(folder) / "out.parquet")
            case "decode":
                return decode_alone(engine, source)
            case "inference":
                return inference_alone(engine, source)
            case "single":
                start = time.perf_counter()
                one = open_unchecked(bundle, engine.proof, 1)
                for _ in range(5):
                    one.answer(few[:1])
                start = time.perf_counter()
                for _ in range(100):
                    one.answer(few[:1])
                return 100 / (time.perf_counter() - start)
            case _:
                whole(engine, repeated(source, int(kind)), Path(folder) / "out.parquet")
                return peak_memory_bytes() / 2**20


def measured(asked: argparse.Namespace, bundle: Path, *what: str) -> float:
    command = [sys.executable, "-m", "benchmarks.serving_speed", str(asked.photos)]
    command += ["--bundle", str(bundle), "--size", str(asked.size), "--alone", *what]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def rounds(asked: argparse.Namespace, bundle: Path) -> None:
    ways = [way for way in WAYS if has(*way)]
    sides: list[tuple[str, ...]] = [("plain", "-", "-"), ("decode", *ways[0])]
    sides += [(kind, *way) for way in ways for kind in ("whole", "inference", "single")]
    found: dict[tuple[str, ...], list[float]] = {side: [] for side in sides}
    for turn in range(asked.rounds):
        for side in sides[:: 1 if turn % 2 == 0 else -1]:
            found[side].append(measured(asked, bundle, *side))
            print(f"round {turn + 1}: {' '.join(side)} {found[side][-1]:.1f}", flush=True)
    plain, decode = found[sides[0]], found[sides[1]]
    print(f"plain timm loop {median(plain):.0f} photos/s; decode alone {median(decode):.0f}")
    for way in ways:
        all_, inference = found["whole", *way], found["inference", *way]
        bounds = [1 / (1 / d + 1 / i) for d, i in zip(decode, inference, strict=True)]
        against = median(a / p for a, p in zip(all_, plain, strict=True))
        of_bound = median(a / b for a, b in zip(all_, bounds, strict=True))
        single_ms = 1e3 / median(found["single", *way])
        print(
            f"{way[0]} {way[1]}: {median(all_):.0f} photos/s, {against:.2f} times the plain loop; "
            f"inference alone {median(inference):.0f}, {of_bound:.2f} of the bound "
            f"{median(bounds):.0f}; one photo {single_ms:.1f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--alone", nargs=3)
    asked = parser.parse_args()
    if asked.alone:
        print(alone(asked))
        return
    with tempfile.TemporaryDirectory() as folder:
        bundle = asked.bundle or Path(folder) / "bundle"
        if asked.bundle is None:
            make_bundle(asked.weights, asked.size, asked.photos, bundle)
        if asked.memory:
            for number in ("1000", "30000"):
                peak = measured(asked, bundle, number, "onnxruntime", "fp32")
                print(f"{int(number):,} photos: {peak:.0f} MiB at most")
            return
        rounds(asked, bundle)


if __name__ == "__main__":
    main()
