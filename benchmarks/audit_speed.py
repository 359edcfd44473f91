"""How fast photos are audited, beside the decoder alone and other tools, and in how much memory.

    python -m benchmarks.audit_speed DATA [--photos NUM] [--rounds 3] [--site DIR]
        [--many 30000]

In rounds, so that a busy machine is unfair to none, the same photos are decoded in full by
simplejpeg in as many threads as there are cores, audited with nothing remembered, and looked
through by cleanvision and imagededup where these can be imported (also from DIR, as made by
`pip install --target DIR cleanvision imagededup`). The files are read once before, so that none
waits for the disk. What cleanvision calls duplicates among all train photos is then looked for in
ours. At last so many photos, copies of which each has bytes of its own, are audited in a process
of its own, which says how much memory it took with those that it started.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from chajong.environment import num_cores
from chajong.manifest import Manifest
from chajong.photos.audit import audit
from chajong.photos.layout import find_photos

_MEASURE = """
import re, resource, sys, time
from pathlib import Path
from chajong.environment import num_cores
from chajong.photos.audit import audit
start = time.perf_counter()
table = audit(Path(sys.argv[1]), cache_folder=Path(sys.argv[2])).table
# What getrusage tells would count the memory of the process that started this one.
most = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
rate = table.height / (time.perf_counter() - start)
# The largest process that helped, as if all had been as large at the same moment.
most += (num_cores() - 1) * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{table.height:,} photos audited: at most {most:,.0f} MiB, {rate:,.0f} photos/s")
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, help="of the train photos; all if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--site", type=Path)
    parser.add_argument("--many", type=int, default=30_000)
    arguments = parser.parse_args()
    if arguments.site is not None:
        sys.path.append(str(arguments.site))
    photos = [photo.path for photo in find_photos(arguments.data).photos if photo.part == "train"]
    with tempfile.TemporaryDirectory() as folder:
        root = copied(photos[: arguments.photos], Path(folder) / "some")
        compare(sorted(root.rglob("*.jpg")), root, arguments.rounds)
        shutil.rmtree(root)
        agree(arguments.data, copied(photos, Path(folder) / "all"))
        shutil.rmtree(Path(folder) / "all")
        many = multiplied(photos, Path(folder) / "many", arguments.many)
        subprocess.run([sys.executable, "-c", _MEASURE, many, f"{folder}/cache"], check=True)


def copied(photos: list[Path], root: Path) -> Path:
    """Copy photos into class folders; no name comes twice."""
    for place, path in enumerate(photos):
        target = root / path.parent.name / f"{place:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return root


def multiplied(photos: list[Path], root: Path, num: int) -> Path:
    """Copy photos over and over, with a comment of its own in each JPEG."""
    for place in range(num):
        path = photos[place % len(photos)]
        data, note = path.read_bytes(), f"{place:08d}".encode()
        target = root / path.parent.name / f"{place:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data[:2] + b"\xff\xfe\x00\x0a" + note + data[2:])
    return root


def compare(paths: list[Path], root: Path, num_rounds: int) -> None:
    """Print photos a second of each tool, and how fast the audit is beside it: median of rounds.

    Seconds of work of the cores count all threads and processes, but not others' load.
    """
    tools: dict[str, Callable[[], object]] = {
        "simplejpeg alone": lambda: decode_all(paths),
        "chajong audit": lambda: audit_anew(root),
        **dict(others(root)),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in tools}
    for _ in range(num_rounds):
        for name, tool in tools.items():
            start, worked = time.perf_counter(), sum(os.times()[:4])
            tool()
            took[name].append((time.perf_counter() - start, sum(os.times()[:4]) - worked))
    print(f"{len(paths):,} photos, {num_cores()} cores, {num_rounds} rounds")
    ours = np.array(took["chajong audit"])
    for name, times in took.items():
        seconds = np.array(times)
        wall, work = (seconds / ours).T
        print(
            f"  {name:<18}{len(paths) / seconds[:, 0].min():>8,.0f} photos/s at best; audit by it"
            f" {np.median(wall):.2f} ({wall.min():.2f} to {wall.max():.2f}), by work of the cores"
            f" {np.median(work):.2f} ({work.min():.2f} to {work.max():.2f})"
        )


def decode_all(paths: list[Path]) -> None:
    """Decode photos in full."""
    with ThreadPoolExecutor(num_cores()) as threads:
        for _ in threads.map(lambda path: simplejpeg.decode_jpeg(path.read_bytes()), paths):
            pass


def audit_anew(root: Path) -> Manifest:
    """Audit with nothing remembered."""
    with tempfile.TemporaryDirectory() as cache:
        return audit(root, cache_folder=Path(cache))


def others(root: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """The tools of others that are here; says of the rest that they are not."""
    for name, tool in (("cleanvision", clean_vision), ("imagededup", image_dedup)):
        try:
            import_module(name)
        except ImportError as error:
            print(f"{name} is not compared: {error}")
        else:
            yield name, lambda tool=tool: tool(root)  # type: ignore[misc]


def clean_vision(root: Path) -> Any:
    """Let cleanvision look for all that it knows."""
    lab = import_module("cleanvision").Imagelab(data_path=str(root))
    with redirect_stdout(StringIO()):
        lab.find_issues(verbose=False)
    return lab


def image_dedup(root: Path) -> Any:
    """Let imagededup look for duplicates alone, by perceptual hashes."""
    hasher = import_module("imagededup.methods").PHash(verbose=False)
    return hasher.find_duplicates(image_dir=root, recursive=True)


def agree(data: Path, root: Path) -> None:
    """Print how many of cleanvision's sets of duplicates are in a group of ours."""
    with suppress(ImportError):
        lab = clean_vision(root)
        table = audit_anew(root).table
        group_of = {root / path: group for path, group in table.select("path", "group").rows()}
        for kind in ("exact_duplicates", "near_duplicates"):
            sets = lab.info[kind]["sets"]
            found = sum(len({group_of[Path(path)] for path in some}) == 1 for some in sets)
            num = sum(map(len, sets))
            print(f"cleanvision, {kind}: {num} photos in {len(sets)} sets, {found} found here too")
        ours = table.filter(table["group"].is_duplicated())
        print(f"here: {ours.height} photos in {ours['group'].n_unique()} groups of {data}")


if __name__ == "__main__":
    main()
