"""The command that says which car each class is."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chajong.choices import Layout
from chajong.cli_options import CatalogueOption, LayoutOption


def classes(
    source: Annotated[Path, typer.Argument(help="The photos, a run, or a file of names (.txt).")],
    catalogue: CatalogueOption = None,
    layout: LayoutOption = None,
) -> None:
    """Show which car each class is, what is not known, and names that look alike."""
    from chajong.catalogue import Catalogue, known_catalogue
    from chajong.look_alikes import look_alike_names

    known = Catalogue.read(catalogue) if catalogue is not None else known_catalogue()
    names = _class_names(source, layout)
    shown = known.narrowed(names)
    table = Table(box=None, header_style="bold")
    for heading in ("class", "maker", "model", "generation", "powertrain", "years"):
        table.add_column(heading, overflow="fold")
    for car in shown.cars:
        table.add_row(car.name, car.maker, car.model, car.generation, car.powertrain, car.years)
    width = None if sys.stdout.isatty() else 200
    Console(width=width, markup=False).print(table)  # a class may be named `Golf [facelift]`
    empty = ", ".join(f"{name} {count:,}" for name, count in shown.missing().items() if count)
    print(f"{len(names):,} classes; not known: {empty or 'nothing'}")
    for pair in look_alike_names(names):
        print(f"alike ({pair.score:.2f}): {pair.name} and {pair.other}: {pair.reason}")


def _class_names(source: Path, layout: Layout | None) -> tuple[str, ...]:
    from chajong.file_names import LABELS
    from chajong.labels import Labels
    from chajong.photos.layout import find_photos
    from chajong.tables import read_lines

    if source.suffix == ".txt":
        return Labels.of(read_lines(source)).names
    if (source / LABELS).is_file():
        return Labels.load(source / LABELS).names
    found = find_photos(source, layout)
    return Labels.of(photo.label for photo in found.photos if photo.label is not None).names
