"""The commands about finished predictions: their score, and a submission made of them."""

from pathlib import Path
from typing import Annotated

import typer

from chajong.choices import FillUnreadable, IfUnreadable
from chajong.cli_options import CatalogueOption, check_ending


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="A Parquet file, or a submission's CSV.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A CSV with the columns ID and label; the classes that came with the "
            "predictions, as out of fold, if not given."
        ),
    ] = None,
    equal: Annotated[
        Path | None,
        typer.Option(
            help="A CSV with the columns class and equal_to; the known pairs if not given."
        ),
    ] = None,
    unreadable: Annotated[
        IfUnreadable,
        typer.Option(help="What to do about photos without a prediction."),
    ] = "refuse",
    catalogue: CatalogueOption = None,
    reliability: Annotated[
        Path | None,
        typer.Option(
            help="A PNG to draw: how often answers are right against how sure they are, of the "
            "photos that have one."
        ),
    ] = None,
) -> None:
    """Score predictions as the competition does, with intervals, and by maker and model."""
    from chajong.api_answers import evaluate as score

    check_ending(reliability, ".png", "--reliability")
    found = score(
        predictions,
        labels,
        equal=equal,
        unreadable=unreadable,
        catalogue=catalogue,
        reliability=reliability,
    )
    for line in found.lines():
        print(line)


def submit(
    predictions: Annotated[Path, typer.Argument(help="The Parquet file of `chajong predict`.")],
    sample: Annotated[Path, typer.Option(help="The competition's sample_submission.csv.")],
    out: Annotated[Path, typer.Option(help="The CSV to write.")] = Path("submission.csv"),
    floor_unseen: Annotated[
        float | None,
        typer.Option(help="Probability for each class of the sample that the model never saw."),
    ] = None,
    unreadable: Annotated[
        FillUnreadable,
        typer.Option(help="What to do about photos without a prediction."),
    ] = "refuse",
) -> None:
    """Write a submission that the competition accepts, or say why it cannot be."""
    from chajong.api_answers import submit as hand_in

    made = hand_in(predictions, sample, out, floor_unseen=floor_unseen, unreadable=unreadable)
    for note in made.notes:
        print(note)
    print(f"{out}: {made.table.height:,} rows, {made.table.width - 1:,} classes, checked")
