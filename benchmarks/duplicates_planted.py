"""Plants known faults among real photos and counts what the audit finds of them.

    python -m benchmarks.duplicates_planted DATA [--seed 0] [--photos 3000] [--each 150]

A seeded sample of the train photos of DATA is copied to a temporary folder and audited; then
altered copies are planted, and it is audited again. A photo that is linked to its source, or to
another copy of it, is found; a link to any other photo is false, unless the two sources were
linked before anything was planted. A fault is found if the planted photo has the issue; photos
that have it now, but were not planted with it and did not have it before, are false.
"""

import argparse
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import simplejpeg
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from chajong.environment import peak_memory_bytes
from chajong.manifest import Manifest
from chajong.photos.audit import audit
from chajong.photos.layout import find_photos

Rng = np.random.Generator
Plant = Callable[[Image.Image, bytes, Rng], bytes]


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """Encode as JPEG."""
    return encoded(image, "JPEG", quality=quality)


def encoded(image: Image.Image, format_: str, quality: int = 90) -> bytes:
    """Encode in any format."""
    buffer = io.BytesIO()
    image.save(buffer, format_, quality=quality)
    return buffer.getvalue()


def cropped(image: Image.Image, shares: tuple[float, float, float, float]) -> Image.Image:
    """Cut off shares of the left, upper, right and lower side."""
    width, height = image.size
    left, upper, right, lower = shares
    box = (left * width, upper * height, (1 - right) * width, (1 - lower) * height)
    return image.crop(tuple(round(side) for side in box))  # type: ignore[arg-type]


def random_crop(image: Image.Image, rng: Rng) -> Image.Image:
    """Cut up to 5 % off each side."""
    left, upper, right, lower = (rng.random(4) * 0.05).tolist()
    return cropped(image, (left, upper, right, lower))


def lit(image: Image.Image, factor: float) -> Image.Image:
    """Multiply the light."""
    return ImageEnhance.Brightness(image).enhance(factor)


def half(image: Image.Image) -> Image.Image:
    """Scale to half the size."""
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def blurred(image: Image.Image, share: float) -> Image.Image:
    """Blur by a share of the short side."""
    return image.filter(ImageFilter.GaussianBlur(share * min(image.size)))


def everything(image: Image.Image, rng: Rng) -> bytes:
    """Mirror, crop, darken, scale and encode again."""
    return jpeg(half(lit(random_crop(ImageOps.mirror(image), rng), 0.85)), 60)


def turned(image: Image.Image) -> bytes:
    """Lay the photo on its side and say so in EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


def animated(image: Image.Image) -> bytes:
    """Make an animation of two pictures."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", save_all=True, append_images=[ImageOps.mirror(image)])
    return buffer.getvalue()


def overwritten(data: bytes, rng: Rng) -> bytes:
    """Overwrite 200 bytes in the middle with others."""
    at = int(len(data) * (0.3 + 0.5 * rng.random()))
    noise: bytes = rng.integers(0, 256, 200, dtype=np.uint8).tobytes()
    return data[:at] + noise + data[at + 200 :]


def cut_off(data: bytes, rng: Rng) -> bytes:
    """Keep only the first part."""
    return data[: int(len(data) * (0.2 + 0.75 * rng.random()))]


def zeroed(data: bytes, rng: Rng) -> bytes:
    """Keep only the first part, and the size, as an interrupted copy does."""
    return cut_off(data, rng).ljust(len(data), b"\0")


def noise(rng: Rng) -> bytes:
    """Make a grey wall."""
    wall = rng.normal(rng.integers(60, 200), 3, (200, 300, 3)).clip(0, 255).astype(np.uint8)
    return jpeg(Image.fromarray(wall))


EXACT: dict[str, Plant] = {
    "copy": lambda _, data, __: data,
    "comment added": lambda _, data, __: data[:2] + b"\xff\xfe\x00\x06abcd" + data[2:],
}
NEAR: dict[str, Plant] = {
    "JPEG quality 50": lambda image, _, __: jpeg(image, 50),
    "PNG": lambda image, _, __: encoded(image, "PNG"),
    "half size": lambda image, _, __: jpeg(half(image)),
    "5 % off each side": lambda image, _, __: jpeg(cropped(image, (0.05,) * 4)),
    "0 to 5 % off each side": lambda image, _, rng: jpeg(random_crop(image, rng)),
    "20 % brighter": lambda image, _, __: jpeg(lit(image, 1.2)),
    "20 % darker": lambda image, _, __: jpeg(lit(image, 0.8)),
    "mirrored": lambda image, _, __: jpeg(ImageOps.mirror(image)),
    "all of these": lambda image, _, rng: everything(image, rng),
    "10 % off one side": lambda image, _, __: jpeg(cropped(image, (0.1, 0, 0, 0))),
}
FAULTS: dict[str, tuple[str, Plant]] = {
    "unreadable: truncated": ("unreadable", lambda _, data, rng: cut_off(data, rng)),
    "unreadable: zeros to the end": ("unreadable", lambda _, data, rng: zeroed(data, rng)),
    "unreadable: 200 bytes wrong": ("unreadable", lambda _, data, rng: overwritten(data, rng)),
    "unreadable: empty": ("unreadable", lambda _, __, ___: b""),
    "unreadable: a text file": ("unreadable", lambda _, __, ___: b"not a photo\n" * 40),
    "wrong_suffix: a PNG": ("wrong_suffix", lambda image, _, __: encoded(image, "PNG")),
    "animated": ("animated", lambda image, _, __: animated(image)),
    "cmyk": ("cmyk", lambda image, _, __: jpeg(image.convert("CMYK"))),
    "exif_rotated": ("exif_rotated", lambda image, _, __: turned(image)),
    "tiny: 60 px": ("tiny", lambda image, _, __: jpeg(ImageOps.contain(image, (60, 60)))),
    "odd_aspect: 5 to 1": ("odd_aspect", lambda image, _, __: jpeg(image.resize((640, 128)))),
    "dark: light x 0.25": ("dark", lambda image, _, __: jpeg(lit(image, 0.25))),
    "over_exposed: light x 8": ("over_exposed", lambda image, _, __: jpeg(lit(image, 8))),
    "blurred: 1 % of short side": ("blurred", lambda image, _, __: jpeg(blurred(image, 0.01))),
    "blurred: 2 % of short side": ("blurred", lambda image, _, __: jpeg(blurred(image, 0.02))),
    "grey": ("grey", lambda image, _, __: jpeg(image.convert("L"))),
    "low_information: a wall": ("low_information", lambda _, __, rng: noise(rng)),
}
HARMLESS = ("copy", "comment added", "JPEG quality 50", "mirrored")
"""Copies that have no fault unless their source has it."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--each", type=int, default=150)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "photos", Path(folder) / "cache"
        sources = copy_sample(arguments.data, root, arguments.photos, rng)
        before = timed_audit(root, cache, sources)
        planted = plant_all(sources, arguments.each, rng)
        print(f"{len(sources)} photos, {len(planted)} planted, seed {arguments.seed}")
        start = time.perf_counter()
        after = audit(root, cache_folder=cache)
        print(f"second audit, reading only what is new: {time.perf_counter() - start:.1f} s")
    report_links(before, after, planted)
    report_faults(before, after, planted)
    print(f"most memory: {peak_memory_bytes() / 2**20:,.0f} MiB")


def copy_sample(data: Path, root: Path, num: int, rng: Rng) -> list[Path]:
    """Copy a sample of the train photos into class folders."""
    photos = [photo for photo in find_photos(data).photos if photo.part == "train"]
    chosen = sorted(rng.choice(len(photos), min(num, len(photos)), replace=False).tolist())
    copies = []
    for place in chosen:
        photo = photos[place]
        target = root / str(photo.label) / f"{place:06d}{photo.path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.path, target)
        copies.append(target)
    return copies


def timed_audit(root: Path, cache: Path, sources: list[Path]) -> Manifest:
    """Audit the photos as they are, and compare with the decoder alone."""
    took = []
    for _ in range(2):
        start, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            for _ in threads.map(lambda path: simplejpeg.decode_jpeg(path.read_bytes()), sources):
                pass
        took.append((time.perf_counter() - start, time.process_time() - cpu))
    start, cpu = time.perf_counter(), time.process_time()
    manifest = audit(root, cache_folder=cache)
    audited = time.perf_counter() - start, time.process_time() - cpu
    for unit, mine, decoder in zip(("", " of one core"), audited, min(took), strict=True):
        print(
            f"audit {len(sources) / mine:,.0f} photos/s{unit}, decoding alone"
            f" {len(sources) / decoder:,.0f}, ratio {decoder / mine:.2f}"
        )
    return manifest


def plant_all(sources: list[Path], num_each: int, rng: Rng) -> dict[str, tuple[str, str]]:
    """Write altered copies; say of what kind each is and which photo it was."""
    plants = EXACT | NEAR | {kind: plant for kind, (_, plant) in FAULTS.items()}
    root = sources[0].parents[1]
    planted: dict[str, tuple[str, str]] = {}
    for kind, plant in plants.items():
        for number, place in enumerate(rng.choice(len(sources), num_each, replace=False).tolist()):
            source = sources[place]
            data = source.read_bytes()
            name = f"{kind.split(':')[0].replace(' ', '_').replace('%', '')}"
            suffix = ".png" if kind == "PNG" else ".webp" if kind == "animated" else ".jpg"
            target = source.parent / f"planted_{len(planted):06d}_{name}_{number}{suffix}"
            target.write_bytes(plant(Image.open(io.BytesIO(data)).convert("RGB"), data, rng))
            id_ = target.relative_to(root).as_posix()
            planted[id_] = (kind, source.relative_to(root).as_posix())
    return planted


def report_links(before: Manifest, after: Manifest, planted: dict[str, tuple[str, str]]) -> None:
    """Print recall and precision of each kind of copy."""
    known: dict[str, int] = dict(before.table.select("id", "group").iter_rows())
    issues = set(after.issues.select("id", "issue").iter_rows())
    members: dict[int, list[str]] = {}
    for id_, group in after.table.select("id", "group").iter_rows():
        members.setdefault(group, []).append(id_)
    group_of = dict(after.table.select("id", "group").iter_rows())

    def source_group(id_: str) -> int:
        return known[planted[id_][1] if id_ in planted else id_]

    print(f"\n{'kind of copy':<28}{'recall':>8}{'precision':>11}{'links':>7}  as")
    for kind in (*EXACT, *NEAR):
        copies = [id_ for id_, (its, _) in planted.items() if its == kind]
        found = sum(group_of[id_] == group_of[planted[id_][1]] for id_ in copies)
        links = [(id_, other) for id_ in copies for other in members[group_of[id_]] if other != id_]
        true = sum(source_group(id_) == source_group(other) for id_, other in links)
        exact = sum((id_, "exact_duplicate") in issues for id_ in copies)
        precision = true / len(links) if links else float("nan")
        print(
            f"{kind:<28}{found / len(copies):>8.3f}{precision:>11.3f}{len(links):>7}"
            f"  exact {exact}, near {found - min(found, exact)}"
        )
    near = before.issues.filter(pl.col("issue").is_in(["exact_duplicate", "near_duplicate"]))
    print(f"unplanted photos that were linked before: {near['id'].n_unique()}")


def report_faults(before: Manifest, after: Manifest, planted: dict[str, tuple[str, str]]) -> None:
    """Print recall and precision of each kind of fault."""
    had = set(before.issues.select("id", "issue").iter_rows())
    has = set(after.issues.select("id", "issue").iter_rows())
    print(f"\n{'kind of fault':<30}{'recall':>8}{'precision':>11}{'unplanted photos with it':>27}")
    for kind, (issue, _) in FAULTS.items():
        copies = {id_ for id_, (its, _) in planted.items() if its == kind}
        found = sum((id_, issue) in has for id_ in copies)
        # A copy has the faults of its source too, and one fault may bring another with it.
        harmless = {id_ for id_, (its, _) in planted.items() if its in HARMLESS}
        false = sum(
            its == issue and id_ in harmless and (planted[id_][1], issue) not in had
            for id_, its in has
        )
        others = sum(its == issue for _, its in had)
        precision = found / (found + false) if found else float("nan")
        print(f"{kind:<30}{found / len(copies):>8.3f}{precision:>11.3f}{others:>27}")


if __name__ == "__main__":
    main()
