"""The commands that read out-of-fold predictions."""

from pathlib import Path
from typing import Annotated

import typer

from chajong.cli_options import CacheOption


def suspects(
    run: Annotated[Path, typer.Argument(help="The run's folder, all folds trained.")],
    out: Annotated[Path | None, typer.Option(help="The CSV to write.")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many to print.")] = 20,
) -> None:
    """List photos whose label is probably wrong, the worst first."""
    from chajong.predictions import Predictions
    from chajong.run import Run
    from chajong.suspects import find_suspects

    opened = Run.load(run)
    table = Predictions.load(opened.predictions_path)
    found = find_suspects(table, opened.labels, opened.manifest())
    path = out or run / "suspects.csv"
    found.save(path)
    for row in found.table.head(top).iter_rows(named=True):
        twin = f"  a duplicate is {row['duplicate_says']}" if row["duplicate_says"] else ""
        print(
            f"{row['score']:.3f}  {row['id']}  {row['label']} {row['p_given']:.3f}"
            f" -> {row['suggested']} {row['p_suggested']:.3f}{twin}"
        )
    print(
        f"{found.table.height:,} suspects; the confident joint, which weak models raise,"
        f" counts {found.num_expected:,}"
    )
    print(f"{path}; next: chajong review {run}")


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


def blend(
    runs: Annotated[list[Path], typer.Argument(help="The runs' folders, all folds trained.")],
    out: Annotated[Path, typer.Option(help="The blend's folder.")] = Path("blend"),
    budget: Annotated[int, typer.Option(min=1, help="Most views of a photo for each run.")] = 4,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Photos that no model learned from, such as the test photos; their labels are not "
            "needed. They calibrate the mean of the folds."
        ),
    ] = None,
) -> None:
    """Learn from out-of-fold predictions which runs and views to believe, and how much."""
    from chajong.blending.make import alone, make_blend
    from chajong.run import Run
    from chajong.training.look_again import asker, look_again
    from chajong.training.views import VIEWS

    opened = [Run.load(folder) for folder in runs]
    tables = [look_again(run, tuple(VIEWS)) for run in opened]
    for place, view, loss in alone(tables, opened[0].labels):
        print(f"{runs[place]}  {view:<12} alone {loss:.4f}")
    ask = None if photos is None else asker(photos)
    made, nested = make_blend(opened, tables, budget, out, ask)
    for line in made.lines():
        print(line)
    print("out of fold, nested: no photo was scored by a fit that knew its answer")
    for line in nested.lines():
        print(line)
    print(f"{out / 'blend.json'}; next: chajong predict {out} PHOTOS")


def expect(
    runs: Annotated[list[Path], typer.Argument(help="The runs' folders, all folds trained.")],
    test: Annotated[Path, typer.Option(help="The photos without answers.")],
    out: Annotated[Path | None, typer.Option(help="The JSON file to write.")] = None,
    cache: CacheOption = None,
) -> None:
    """Say what the log loss on photos without answers will be, with a 90 % interval."""
    from chajong.run import Run
    from chajong.training.expect import expect as foresee

    said = foresee([Run.load(folder) for folder in runs], test, cache_folder=cache)
    for line in said.lines():
        print(line)
    if out is not None:
        said.save(out)


def report(
    of: Annotated[
        Path, typer.Argument(help="The folder of a run or a blend, or what compare --out wrote.")
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file to write.")] = None,
) -> None:
    """Write a page: how good it is, where it is wrong, and how to make it again."""
    from chajong.compare import Comparison
    from chajong.reporting.report_page import PAGE, Subject, comparison_page, report_page

    if of.is_file():
        print(comparison_page(Comparison.load(of), out or of.with_suffix(".html")))
    else:
        print(report_page(Subject.open(of), out or of / PAGE))


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
    from chajong.reporting.watch import watch as show
    from chajong.reporting.watch import watch_page
    from chajong.run import Run

    if not page:
        show(Run.load(run), once=once)
        return
    for line in watch_page(Run.load(run), port, browser=not no_browser):
        print(line, flush=True)
