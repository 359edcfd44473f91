"""Putting runs away, and getting them back.

The bin of a run is the folder `.bin` beside it. A run goes there, and comes back, by one renaming,
so that a process killed at any moment leaves it whole in one place or the other.
"""

from pathlib import Path

from chajong.errors import RunError
from chajong.file_names import RUN
from chajong.files import locked, writing
from chajong.wording import listed

BIN = ".bin"


def remove(run: Path) -> Path:
    """Put a run into the bin.

    Args:
        run: Its folder. What is damaged in it does not matter.

    Returns:
        Where it lies now.

    Raises:
        RunError: If it is no run, or a process is training it.
    """
    folder = run.resolve()
    if not (folder / RUN).is_file():
        raise RunError(f"{run} is no run: it has no {RUN}. List the runs with: chajong runs")
    with (
        locked(folder.parent / BIN / ".lock", wait=True),
        locked(folder / ".lock", wait=False) as idle,
    ):
        if not idle:
            raise RunError(f"A process is training {run} now. Stop it first, or wait for it.")
        number = 1 + max((number for number, _ in _binned(folder)), default=0)
        place = folder.parent / BIN / f"{folder.name}~{number}"
        with writing(place):
            folder.rename(place)
    return place


def restore(run: Path) -> Path:
    """Get a run back from the bin, the one put there last if there were several of its name.

    Args:
        run: The folder that it had.

    Returns:
        The same folder.

    Raises:
        RunError: If there is none of this name in the bin, or something else took its place.
    """
    folder = run.resolve()
    bin_ = folder.parent / BIN
    if not bin_.is_dir():
        raise RunError(f"There is no bin beside {run}: nothing was put away there.")
    with locked(bin_ / ".lock", wait=True):
        found = _binned(folder)
        if not found:
            names = {path.name.rpartition("~")[0] for path in bin_.glob("*~*")}
            there = f"it holds {listed(sorted(names))}" if names else "it is empty"
            raise RunError(f"There is no {folder.name!r} in {bin_}; {there}.")
        if folder.exists():
            raise RunError(f"{run} is there already. Rename what is there, or put it away, first.")
        with writing(folder):
            max(found)[1].rename(folder)
    return run


def _binned(folder: Path) -> list[tuple[int, Path]]:
    # The runs of this name in the bin, with their numbers.
    found = []
    for path in (folder.parent / BIN).glob("*~*"):
        name, _, number = path.name.rpartition("~")
        if name == folder.name and number.isdecimal():
            found.append((int(number), path))
    return found
