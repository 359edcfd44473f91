"""What this machine has, what is missing, and what to do about it."""

import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chajong.environment import memory_bytes, num_cores, package_version
from chajong.wording import first_line, installing

_NEEDED = (
    "numpy",
    "pillow",
    "simplejpeg",
    "polars",
    "pydantic",
    "PyYAML",
    "rich",
    "threadpoolctl",
    "typer",
)
_TRAINING = ("torch", "torchvision", "timm", "safetensors")
_SERVING = ("onnxruntime", "fastapi", "uvicorn", "prometheus-client")


def examine() -> Iterator[str]:
    """Look at this machine.

    Yields:
        A line a fact: `ok`, `--` (fine without) or `!!` (put this right), and what to do.
    """
    yield f"ok  Python {platform.python_version()}, chajong {package_version('chajong')}"
    yield from _packages(_NEEDED, installing())
    serves = _installed(_SERVING)  # a machine for bundles alone is fine without torch
    remedy = f"{installing('train')} to train, and to predict with runs and blends"
    yield from _packages(_TRAINING, remedy, mark="--" if serves else "!!")
    yield from _packages(_SERVING, f"{installing('serve')} to use a bundle", mark="--")
    yield f"ok  {num_cores()} cores, {memory_bytes() / 2**30:.1f} GiB of memory"
    if _installed(_NEEDED):
        yield from _cache()
    if not _installed(_NEEDED + _TRAINING):
        return
    try:
        yield from _devices()
        yield from _weights()
    except Exception as error:  # of versions or drivers that do not fit, in dozens of ways
        remedy = installing("train").replace("install", "install --force-reinstall", 1)
        yield f"!!  torch does not work here: {first_line(error)}. Run: {remedy}"


def _installed(names: tuple[str, ...]) -> bool:
    return all(package_version(name) is not None for name in names)


def _packages(names: tuple[str, ...], remedy: str, mark: str = "!!") -> Iterator[str]:
    found = {name: package_version(name) for name in names}
    missing = [name for name, version in found.items() if version is None]
    present = [f"{name} {version}" for name, version in found.items() if version is not None]
    if present:
        yield f"ok  {', '.join(present)}"
    if missing:
        yield f"{mark}  missing: {', '.join(missing)}. Run: {remedy}"


def _cache() -> Iterator[str]:
    # Imported late, like all that needs a package which may be missing.
    from chajong.errors import ChajongError
    from chajong.files import make_folder
    from chajong.photos.cache import default_cache_folder

    folder = default_cache_folder()
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (ChajongError, OSError):
        yield f"!!  the cache {folder} cannot be written: set CHAJONG_CACHE to one that can be"
        return
    stats = os.statvfs(folder)
    free = stats.f_bavail * stats.f_frsize
    mark = "ok" if free > 5e9 else "!!"
    more = "" if mark == "ok" else " Free some space, or set CHAJONG_CACHE to another disk."
    yield f"{mark}  the cache {folder} can be written, {free / 1e9:.0f} GB free.{more}"


def _devices() -> Iterator[str]:
    import torch

    from chajong.training.allocator import keep_large_blocks
    from chajong.training.precision import choose_precision
    from chajong.training.world import pick_device

    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        yield f"ok  GPU {number}: {facts.name}, {facts.total_memory / 2**30:.0f} GiB"
    if not torch.cuda.is_available():
        yield (
            "--  no GPU: small networks train here (see the recipe cars-fast); for large ones use "
            "a machine with a CUDA GPU"
        )
    yield f"ok  precision chosen here: {choose_precision('auto', pick_device())}"
    if keep_large_blocks():
        yield "ok  the C allocator keeps large blocks: training on the CPU runs at full speed"
    else:
        yield "--  the C allocator is not glibc's: training on the CPU may be two times slower"


def _weights() -> Iterator[str]:
    import huggingface_hub.constants
    import torch.hub

    from chajong.training.weights import hub_is_reachable

    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    kept = sorted(path.name.split("--")[-1] for path in cache.glob("models--timm--*"))
    kept += sorted(path.name for path in Path(torch.hub.get_dir(), "checkpoints").glob("*.pth"))
    if kept:
        yield f"ok  pretrained weights kept here: {', '.join(kept)}"
    if hub_is_reachable():
        yield "ok  the hub can be reached: pretrained weights of any timm name can be had"
    else:
        yield (
            "--  the hub cannot be reached: give a local file (--set model.weights=FILE"
            ".safetensors), or start from nothing (--set model.weights=none --set "
            "model.frozen_stages=0)"
        )
