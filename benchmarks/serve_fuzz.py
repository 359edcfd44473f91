"""Broken photos to a service: nothing may answer 5xx, crash or hang.

    python -m benchmarks.serve_fuzz BUNDLE PHOTOS [--num 5000] [--seed 0]

Real JPEG, PNG and WebP files, made of PHOTOS, are cut, mended with other bytes, stretched in their
headers, spliced and shuffled, by chance but always the same for a seed, and sent to a service of
its own process. Prints how often which status came, and the slowest answer.
"""

import argparse
import random
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection
from io import BytesIO
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from chajong.photos.sources import open_source

FORMATS = ("JPEG", "PNG", "WEBP")


def sound(photos: Sequence[bytes], side_px: int = 320) -> list[bytes]:
    """The photos in every format, some of them in unusual ways of writing it."""
    made = list(photos)
    for photo in photos:
        image = Image.open(BytesIO(photo)).convert("RGB")
        image.thumbnail((side_px, side_px))
        ways: list[tuple[str, dict[str, object]]] = [(name, {}) for name in FORMATS]
        ways += [("JPEG", {"progressive": True}), ("WEBP", {"lossless": True})]
        for name, options in ways:
            out = BytesIO()
            image.save(out, name, **options)
            made.append(out.getvalue())
        for mode in ("L", "P", "RGBA", "CMYK"):
            out = BytesIO()
            image.convert(mode).save(out, "JPEG" if mode == "CMYK" else "PNG")
            made.append(out.getvalue())
    return made


def broken(photos: Sequence[bytes], num: int, seed: int = 0) -> Iterator[bytes]:
    """`num` files, each a sound one that was spoiled once or several times."""
    chance = random.Random(seed)
    for _ in range(num):
        data = bytearray(chance.choice(photos))
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            data = chance.choice(_WAYS)(data, photos, chance)
        yield bytes(data)


def _cut(data: bytearray, _: Sequence[bytes], chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data) + 1)]


def _flip(data: bytearray, _: Sequence[bytes], chance: random.Random) -> bytearray:
    for _turn in range(chance.choice((1, 3, 30))):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)
    return data


def _flip_head(data: bytearray, _: Sequence[bytes], chance: random.Random) -> bytearray:
    if data:
        data[chance.randrange(min(len(data), 700))] = chance.choice((0, 1, 127, 128, 255))
    return data


def _huge(data: bytearray, _: Sequence[bytes], chance: random.Random) -> bytearray:
    # Sizes and lengths stand in headers as 2 or 4 bytes.
    code = chance.choice((">H", "<H", ">I", "<I"))
    size = struct.calcsize(code)
    if len(data) > size:
        at = chance.randrange(min(len(data), 64) - size) if len(data) > 64 else 0
        top = 256**size - 1
        data[at : at + size] = struct.pack(code, chance.choice((0, 1, top, top // 2, 20_000)))
    return data


def _drop(data: bytearray, _: Sequence[bytes], chance: random.Random) -> bytearray:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.choice((1, 7, 1000))]
    return data


def _repeat(data: bytearray, _: Sequence[bytes], chance: random.Random) -> bytearray:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start : start + 2000] * chance.choice((2, 20)) + data[start:]


def _splice(data: bytearray, photos: Sequence[bytes], chance: random.Random) -> bytearray:
    other = chance.choice(photos)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other)) :]


_WAYS = (_cut, _flip, _flip, _flip_head, _flip_head, _huge, _huge, _drop, _repeat, _splice)


def send(port: int, bodies: Iterator[bytes]) -> tuple[Counter[int], float]:
    """Send them one after another; how often which status came, and the slowest answer."""
    statuses: Counter[int] = Counter()
    slowest = 0.0
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for body in bodies:
            start = time.perf_counter()
            connection.request("POST", "/v1/predict", body)
            reply = connection.getresponse()
            reply.read()
            statuses[reply.status] += 1
            slowest = max(slowest, time.perf_counter() - start)
    return statuses, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos")
    parser.add_argument("--num", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    photos = [asked.read() for asked in islice(open_source(given.photos).photos(), 20)]
    command = [sys.executable, "-m", "chajong", "serve", str(given.bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        port = urlsplit(service.stdout.readline().split()[0]).port or 0
        try:
            statuses, slowest = send(port, broken(sound(photos), given.num, given.seed))
        finally:
            service.terminate()
    for status, count in sorted(statuses.items()):
        print(f"{status}: {count:,}")
    print(f"slowest answer: {slowest:.2f} s; the service ended with {service.returncode}")
    failed = service.returncode or sum(n for status, n in statuses.items() if status >= 500)
    print("holds" if not failed else "does not hold: 5xx or a crash")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
