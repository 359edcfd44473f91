"""Folders whose every byte is checked: SHA256SUMS, as `sha256sum --check` takes it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from chajong.file_names import SUMS
from chajong.files import make_folder, sha256_of, write_text, writing
from chajong.wording import listed

COPY_AGAIN = "Copy the bundle again from where it was made, or export again."
"""What to do about a bundle that is not as it was made."""


def write_sums(folder: Path) -> None:
    """Write the checksums of all files of a folder into it.

    Args:
        folder: The folder.
    """
    sums = [f"{sha256_of(folder / name)}  {name}\n" for name in _files(folder)]
    write_text(folder / SUMS, "".join(sums))


def touched(folder: Path) -> Iterator[str]:
    """Find what is not as its checksums say.

    Args:
        folder: The folder.

    Yields:
        What is wrong, in words.
    """
    try:
        sums = _parsed((folder / SUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"its {SUMS} cannot be read ({error})"
        return
    files = _files(folder)
    if missing := sorted(set(sums) - set(files)):
        yield f"it lacks {listed(missing)}"
    if strange := sorted(set(files) - set(sums)):
        yield f"it holds {listed(strange)}, which its {SUMS} does not list"
    for name in files:
        if name in sums and sha256_of(folder / name) != sums[name]:
            yield f"the checksum of {name} differs"


def listed_files(folder: Path) -> frozenset[str]:
    """Name the files that a folder's checksums list.

    Args:
        folder: The folder, with checksums that can be read.

    Returns:
        Their names within it.
    """
    return frozenset(_parsed((folder / SUMS).read_text(encoding="utf-8")))


def copy_checked(text: str, folder: Path, to: Path) -> str | None:
    """Copy files, and look at the copies.

    Args:
        text: What the checksums said when the folder was opened.
        folder: Where they are.
        to: Where to.

    Returns:
        The first file that is no longer as it was; none if all are.
    """
    for name, known in _parsed(text).items():
        make_folder((to / name).parent)
        with writing(to / name):
            shutil.copyfile(folder / name, to / name)
        if sha256_of(to / name) != known:
            return name
    return None


def _files(folder: Path) -> list[str]:
    # All but what systems leave behind, such as .DS_Store, and the checksums themselves.
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    seen = (path for path in found if not any(part.startswith(".") for part in path.parts))
    return sorted(path.as_posix() for path in seen if path.as_posix() != SUMS)


def _parsed(sums: str) -> dict[str, str]:
    return {name: known for known, name in (line.split("  ", 1) for line in sums.splitlines())}
