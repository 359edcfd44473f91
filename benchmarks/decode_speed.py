"""How fast photos are opened: simplejpeg, torchvision and Pillow, in full and at a smaller scale.

    python benchmarks/decode_speed.py FOLDER [--num 300] [--size-px 224] [--rounds 5]

Runs on the folder's JPEGs as they are and enlarged four times (as phones write them), one thread,
the decoders taking turns so that a busy machine is unfair to none. Prints photos a second (the
best round), what each makes of a truncated file, and what reading EXIF costs.
"""

import argparse
import struct
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from chajong.photos.decode import decode
from chajong.photos.preprocess import Preprocess

Opener = Callable[[bytes], NDArray[np.uint8]]


def by_torchvision(data: bytes) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the buffer is read-only, and only read
        tensor = torch.frombuffer(data, dtype=torch.uint8)
    pixels: NDArray[np.uint8] = decode_jpeg(tensor, ImageReadMode.RGB).permute(1, 2, 0).numpy()
    return pixels


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    return np.array(Image.open(BytesIO(data)).convert("RGB"))


def openers(size_px: int) -> dict[str, Opener]:
    def by_draft(data: bytes) -> NDArray[np.uint8]:
        image = Image.open(BytesIO(data))
        image.draft("RGB", (size_px, size_px))
        return np.array(image.convert("RGB"))

    def by_eighths(data: bytes) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, min_height=size_px, min_width=size_px
        )
        return pixels

    return {
        "simplejpeg": lambda data: simplejpeg.decode_jpeg(data),
        "torchvision.io": by_torchvision,
        "Pillow": by_pillow,
        "chajong decode": lambda data: decode(data).pixels,
        "simplejpeg, any scale": by_eighths,
        "Pillow draft": by_draft,
        "chajong decode, scaled": lambda data: decode(data, size_px).pixels,
        "chajong, resized too": Preprocess(size_px, "squash"),
    }


def photos_a_second(opener: Opener, photos: list[bytes]) -> float:
    start = time.perf_counter()
    for data in photos:
        opener(data)
    return len(photos) / (time.perf_counter() - start)


def enlarged(data: bytes) -> bytes:
    image = Image.open(BytesIO(data)).convert("RGB")
    buffer = BytesIO()
    image.resize((image.width * 4, image.height * 4)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def at_truncation(opener: Opener, data: bytes) -> str:
    said = []
    half = data[: len(data) // 2]
    for name, cut in (("half", half), ("no end mark", data[:-2]), ("a hole", half + data[-2:])):
        try:
            opener(cut)
            said.append(f"{name}: read")
        except Exception:  # each decoder has its own
            said.append(f"{name}: refused")
    return ", ".join(said)


def orientation_cost(data: bytes) -> tuple[float, float]:
    """Microseconds that EXIF costs a photo: read here, and by Pillow."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 1, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1" + entry + b"\0\0\0\0"
    tagged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]

    def by_pillow_header(data: bytes) -> NDArray[np.uint8]:
        Image.open(BytesIO(data)).getexif().get(0x0112)
        return np.empty(0, np.uint8)

    chosen = openers(224)
    takes = [chosen["chajong decode"], chosen["simplejpeg"], by_pillow_header]
    rates = np.array([[photos_a_second(take, [tagged] * 300) for take in takes] for _ in range(9)])
    here, bare, pillow = (float(us) for us in 1e6 / rates.max(axis=0))
    return here - bare, pillow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(args.folder.rglob("*.jpg"))[: args.num]
    small = [path.read_bytes() for path in paths]
    large = [enlarged(data) for data in small[: max(1, args.num // 10)]]
    for title, photos in (("as they are", small), ("enlarged four times", large)):
        sizes = [simplejpeg.decode_jpeg_header(data)[:2] for data in photos]
        height, width = np.median(sizes, axis=0).astype(int)
        print(f"\n{len(photos)} photos {title}, median {width} x {height} px, photos a second")
        best: dict[str, float] = {}
        for _ in range(args.rounds):
            for name, opener in openers(args.size_px).items():
                best[name] = max(best.get(name, 0.0), photos_a_second(opener, photos))
        for name, rate in best.items():
            print(f"  {name:<24}{rate:8,.0f}")
    print("\nof a file that lacks something")
    for name, opener in openers(args.size_px).items():
        print(f"  {name:<24}{at_truncation(opener, small[0])}")
    ours, pillows = orientation_cost(small[0])
    print(f"\nEXIF and header checks: {ours:.0f} us a photo; Pillow's lazy open: {pillows:.0f} us")


if __name__ == "__main__":
    main()
