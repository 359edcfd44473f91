"""The commands that read out-of-fold predictions."""

from pathlib import Path
from typing import Annotated

import typer

from chajong.cli_options import CacheOption, check_ending
from chajong.wording import command


def suspects(
    run: Annotated[Path, typer.Argument(help="The run's folder, all folds trained.")],
    out: Annotated[Path | None, typer.Option(help="The CSV to write.")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many to print.")] = 20,
) -> None:
    """List photos whose label is probably wrong, the worst first."""
    from chajong.api_runs import find_suspects
    from chajong.experiments.again import review_command
    from chajong.run import Run

    path = out or run / "suspects.csv"
    check_ending(path, ".csv")
    found = find_suspects(run)
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
    print(f"{path}; next: {review_command(Run.load(run))}")


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
    from chajong.run import Run
    from chajong.training.blend import blend_runs

    for line in blend_runs([Run.load(folder) for folder in runs], out, budget, photos).lines():
        print(line)
    print(f"{out / 'blend.json'}; next: {command('predict', out, 'PHOTOS')}")


def expect(
    runs: Annotated[list[Path], typer.Argument(help="The runs' folders, all folds trained.")],
    test: Annotated[Path, typer.Option(help="The photos without answers.")],
    out: Annotated[Path | None, typer.Option(help="The JSON file to write.")] = None,
    cache: CacheOption = None,
) -> None:
    """Say what the log loss on photos without answers will be, with a 90 % interval."""
    from chajong.api import expect as foresee

    check_ending(out, ".json")
    said = foresee(runs, test, cache=cache)
    for line in said.lines():
        print(line)
    if out is not None:
        said.save(out)
