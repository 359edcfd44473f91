"""Peak memory of building the photo cache, which must not grow with the number of photos.

    python benchmarks/cache_memory.py [--folder PHOTOS] [--num 1000 30000] [--size-px 128]

Builds a cache of each number of photos in a process of its own and prints that process's peak
resident memory. The photos are drawn, or the JPEGs of a folder repeated; a comment in each file
makes it a photo of its own. Needs about 1 MB of temporary disk for each 12 photos.
"""

import argparse
import hashlib
import itertools
import struct
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from chajong.environment import peak_memory_bytes
from chajong.photos.cache import build_cache
from chajong.photos.preprocess import Preprocess


def drawn(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (32, 50, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(coarse).resize((400, 256)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_photos(folder: Path, originals: list[bytes], num: int) -> None:
    for number, data in zip(range(num), itertools.cycle(originals), strict=False):
        comment = b"\xff\xfe" + struct.pack(">HI", 6, number)
        (folder / f"{number:06}.jpg").write_bytes(data[:2] + comment + data[2:])


def build(folder: Path, size_px: int) -> None:
    """The child: print seconds, and peak memory before and after the build."""
    files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.glob("*.jpg")}
    before, start = peak_memory_bytes() / 2**20, time.perf_counter()
    cache = build_cache(files, Preprocess(size_px, "squash"), folder / "cache")
    print(time.perf_counter() - start, before, peak_memory_bytes() / 2**20, len(cache.rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--num", type=int, nargs="+", default=[1_000, 30_000])
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        build(args.child, args.size_px)
        return
    paths = sorted(args.folder.rglob("*.jpg"))[:1000] if args.folder else []
    originals = [path.read_bytes() for path in paths] or [drawn(seed) for seed in range(100)]
    peaks = []
    for num in args.num:
        with tempfile.TemporaryDirectory() as temporary:
            write_photos(Path(temporary), originals, num)
            command = [sys.executable, __file__, "--child", temporary]
            command += ["--size-px", str(args.size_px)]
            child = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
        took, before, peak, rows = map(float, child.stdout.split())
        peaks.append(peak)
        parts = f"{before:.0f} MB libraries and list of photos, {peak - before:.0f} MB the build"
        print(f"{rows:8,.0f} photos: peak {peak:.0f} MB ({parts}), {took:.1f} s")
    print(f"peak memory of the last against the first: {peaks[-1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
