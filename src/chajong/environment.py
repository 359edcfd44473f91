"""What a run ran on, for the record."""

import hashlib
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_CONTAINER, _WHERE_IN_IT = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_PACKAGES = (
    *("chajong", "torch", "torchvision", "timm", "numpy", "polars"),
    *("pillow", "simplejpeg", "cykooz-resizer"),
)


def describe_environment() -> dict[str, Any]:
    """Describe this machine and what is installed on it.

    Returns:
        Plain values: versions, cores, memory, the commit and fingerprint of the code.
    """
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": num_cores(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "packages": {name: package_version(name) for name in _PACKAGES},
        "code": code_fingerprint(),
        "commit": _commit(),
        "command": sys.argv,
    }


def num_cores() -> int:
    """Count the cores that this process may use: the machine's, or its container's.

    Returns:
        1 or more.
    """
    num = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # How long all of a container's threads may compute together in each period.
    for limit in _of_containers("cpu.max"):
        quota, _, period = limit.partition(" ")
        if quota.isdigit():
            num = min(num, max(1, int(quota) // int(period)))
    return num


def memory_bytes() -> int:
    """Tell the memory that this process may use: the machine's, or its container's.

    Returns:
        Bytes.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [int(limit) for limit in _of_containers("memory.max") if limit.isdigit()]
    return min([machine, *limits])


def _of_containers(name: str) -> Iterator[str]:
    # Of this process's own, as systemd makes one for each service, and of all that it lies in.
    try:
        lines = _WHERE_IN_IT.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    folder = _CONTAINER / own.lstrip("/")
    for each in (folder, *folder.parents):
        if each.is_relative_to(_CONTAINER):
            with suppress(OSError, ValueError):
                yield (each / name).read_text(encoding="ascii").strip()


def peak_memory_bytes() -> int:
    """Tell the most memory that this process held since its program began.

    Returns:
        Bytes.
    """
    try:  # Elsewhere than here, what a process was forked from is counted too.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def package_version(name: str) -> str | None:
    """Tell which version of a package is installed.

    Args:
        name: The package.

    Returns:
        Its version; none where it is missing.
    """
    from importlib import metadata  # takes long, and listing runs needs none of it

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def code_fingerprint() -> str:
    """Name this package by the content of its source files.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    # Only of a checkout of this project: an installed copy may lie within somebody's repository.
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
