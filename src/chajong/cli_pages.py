"""The commands that show pages."""

from pathlib import Path
from typing import Annotated

import typer

from chajong.cli_options import CatalogueOption
from chajong.errors import ChajongError


def review(
    run: Annotated[Path, typer.Argument(help="The run's folder, all folds trained.")],
    corrections: Annotated[
        Path | None, typer.Option(help="The CSV of decisions; RUN/corrections.csv if not given.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="On this machine only; 0 for a free one.")
    ] = 0,
    who: Annotated[str | None, typer.Option(help="Who decides, for the record.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="How many suspects, worst first.")] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address only.")
    ] = False,
) -> None:
    """Show label suspects in the browser one after another, and write what you decide."""
    from chajong.reporting.review_page import review_labels
    from chajong.run import Run

    lines = review_labels(
        Run.load(run), corrections, who=who, top=top, port=port, browser=not no_browser
    )
    for line in lines:
        print(line, flush=True)


def report(
    of: Annotated[
        Path, typer.Argument(help="The folder of a run or a blend, or what compare --out wrote.")
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file to write.")] = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Write a page: how good it is, where it is wrong, and how to make it again."""
    from chajong.api_runs import report as write

    print(write(of, out, catalogue=catalogue))


def watch(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    page: Annotated[bool, typer.Option("--page", help="In the browser.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Show where it stands, and end.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page, on this machine only.")
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the page's address only.")
    ] = False,
) -> None:
    """Show how a training goes, while it goes on."""
    if once and page:
        raise ChajongError("--once shows where it stands and ends, --page stays. Leave one out.")
    if not page and (port or no_browser):
        raise ChajongError("--port and --no-browser are about the page. Add --page.")

    from chajong.reporting.watch import watch as show
    from chajong.reporting.watch import watch_page
    from chajong.run import Run

    if not page:
        show(Run.load(run), once=once)
        return
    for line in watch_page(Run.load(run), port, browser=not no_browser):
        print(line, flush=True)
