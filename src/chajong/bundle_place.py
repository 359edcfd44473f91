"""The place of a bundle: what it may replace, and that nothing else is written into one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from chajong.bundle import Bundle
from chajong.bundle_facts import Facts
from chajong.checksums import COPY_AGAIN
from chajong.errors import BundleError
from chajong.file_names import BUNDLE
from chajong.files import read_json
from chajong.folders import is_free, replacing_folder
from chajong.wording import listed


def put_in_place(out: Path, make: Callable[[Path], None]) -> Bundle:
    """Make a bundle beside its place and move it there when it is whole.

    Args:
        out: The folder to make; a bundle that is there is replaced.
        make: Makes it in the folder that it is given.

    Returns:
        The bundle.

    Raises:
        BundleError: If something else is there, or a bundle with added classes that it lacks.
    """
    if not Bundle.is_in(out) and not is_free(out):
        raise BundleError(f"{out} is there and is no bundle. Choose another folder with --out.")
    refuse_inside(out)
    with replacing_folder(out) as draft:
        make(draft)
        # Nothing gives way to a bundle that cannot be read, or that knows less.
        refuse_to_lose(out, Bundle.load(draft).labels.names)
    return Bundle.load(out)


def refuse_inside(path: Path) -> None:
    """Refuse to write into a bundle, which would no longer be as it was made.

    Args:
        path: What is to be written.

    Raises:
        BundleError: If it lies in a bundle.
    """
    for folder in path.resolve().parents:
        if Bundle.is_in(folder):
            raise BundleError(
                f"{path} would lie in the bundle {folder}, which nothing may be added to. Choose "
                "another place with --out."
            )


def refuse_to_lose(out: Path, names: Sequence[str]) -> None:
    """Refuse to replace a bundle by one that lacks classes that were added to it.

    Args:
        out: Where the new one is to lie.
        names: The classes of the new one.

    Raises:
        BundleError: If some are lacking, or it cannot be read whether.
    """
    if not Bundle.is_in(out):
        return
    try:
        old = read_json(out / BUNDLE, Facts, BundleError, COPY_AGAIN).added
    except BundleError as error:
        raise BundleError(
            f"{out} holds a damaged bundle, to which classes may have been added. Take it away "
            "first, or choose another folder with --out."
        ) from error
    if lost := [each.name for each in old if each.name not in names]:
        raise BundleError(
            f"{out} has classes that were added to it and that the new one lacks: {listed(lost)}. "
            "Choose another folder with --out, add to that bundle, or take it away first."
        )
