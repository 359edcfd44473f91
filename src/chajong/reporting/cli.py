"""Commands that show pages."""

from pathlib import Path
from typing import Annotated

import typer


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
