"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from chajong.choices import MAX_NEAREST, Layout, Precision, Runtime
from chajong.errors import ChajongError

Data = Annotated[Path, typer.Argument(help="The photos: a DACON folder, class folders or a table.")]
LayoutOption = Annotated[
    Layout | None, typer.Option(help="How the photos lie; found by itself if not given.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder for resized photos and what is known of them."),
]
RuntimeOption = Annotated[
    Runtime | None,
    typer.Option("--runtime", help="What computes a bundle; the fastest that was proven."),
]
NearestOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_NEAREST,
        help="Name so many of a bundle's training photos, the most alike.",
    ),
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option("--precision", help="In which numbers; the fastest proven."),
]
CorrectionsOption = Annotated[
    Path | None, typer.Option(help="Decisions about photos to carry out first.")
]
CatalogueOption = Annotated[
    Path | None,
    typer.Option(help="A CSV that says which car each class is; the known one if not given."),
]


def check_ending(out: Path | None, ending: str, option: str = "--out") -> None:
    """Refuse a name that promises something else than is written, before the work.

    Args:
        out: The file to write, if any.
        ending: How its name must end, such as `.json`.
        option: What names it.

    Raises:
        ChajongError: If it does not.
    """
    if out is not None and out.suffix != ending:
        raise ChajongError(f"{option} must end in {ending}. Got {out}.")
