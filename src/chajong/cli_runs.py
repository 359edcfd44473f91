"""The commands about runs that are trained: `chajong runs ...` and `chajong compare`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from chajong.choices import Service
from chajong.cli_options import CacheOption, LayoutOption, check_ending
from chajong.progress import say
from chajong.wording import command, did_you_mean


class _Listing(TyperGroup):
    # Without the name of a command the runs are listed: `chajong runs`, `chajong runs FOLDER`.
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        named = bool(args) and args[0] in {*self.commands, "--help"}
        if args and not named and args[0][0:1] != "-" and not Path(args[0]).exists():
            shown = [name for name, each in self.commands.items() if not each.hidden]
            if meant := did_you_mean(args[0], shown):
                ctx.fail(f"No command and no folder {args[0]!r}{meant}.")
        return super().parse_args(ctx, args if named else ["list", *args])


runs_app = typer.Typer(
    cls=_Listing,
    help="List runs (also without a command), note, compare, repeat them, put them away.",
    rich_markup_mode=None,
)


@runs_app.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="Where the runs lie.")] = Path("runs"),
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Such as 'log_loss<0.9', 'status=done', 'run~fold', 'optim.lr=0.001'.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="Such as log_loss or optim.lr; if not, the newest first."
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The largest first.")] = False,
    top: Annotated[int | None, typer.Option(min=0, help="How many to list.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List runs with score, leaderboard scores, time and what their recipes change."""
    from chajong.experiments.choosing import select, table
    from chajong.experiments.listing import list_runs

    found = list_runs(folder)
    chosen = select(found, where or [], sort, reverse=reverse, top=top)
    if as_json:
        print(json.dumps([row.as_dict() for row in chosen], ensure_ascii=False, indent=2))
    elif not found:
        say(f"There are no runs in {folder}. Train one with: chajong train DATA --recipe NAME")
    else:
        print("\n".join(table(chosen)))


@runs_app.command()
def note(
    run: Annotated[Path, typer.Argument(help="The folder of a run or a blend.")],
    text: Annotated[str, typer.Argument(help="What to put on record.")] = "",
    board: Annotated[
        float | None, typer.Option(help="The score on the leaderboard, such as 0.1245.")
    ] = None,
    board_private: Annotated[
        float | None, typer.Option(help="The score on the leaderboard shown at the end.")
    ] = None,
) -> None:
    """Put a note or leaderboard scores on record; without either, show the notes."""
    from chajong.api_runs import note as write
    from chajong.experiments.notes import read_notes

    if text or board is not None or board_private is not None:
        write(run, text, board=board, board_private=board_private)
    for each in read_notes(run):
        print(each.line())


@runs_app.command()
def board(
    folder: Annotated[Path, typer.Argument(help="Where runs and blends lie.")] = Path("runs"),
    out: Annotated[
        Path | None, typer.Option(help="The picture to write: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Show how leaderboard scores and local ones lie apart over time."""
    from chajong.experiments.board import board_lines, read_board
    from chajong.reporting.board_plot import draw_board

    found = read_board(folder)
    path = out or folder / "board.png"
    draw_board(found, path)
    for line in board_lines(found):
        print(line)
    print(path)


@runs_app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run's folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another run's folder.")],
) -> None:
    """Say what was changed from one run to another, and what that did to the score."""
    from chajong.api_runs import diff

    for line in diff(a, b).lines():
        print(line)


@runs_app.command()
def rerun(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Annotated[Path | None, typer.Option(help="The new folder; RUN-again if not.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="The photos; where they lay then, if not given.")
    ] = None,
    layout: LayoutOption = None,
    cache: CacheOption = None,
    corrections: Annotated[
        Path | None, typer.Option(help="Decisions about photos that the run was trained with.")
    ] = None,
) -> None:
    """Train a run again in another folder: bit-equal, or what differs."""
    from chajong.run import Run

    opened = Run.load(run)

    from chajong.training.rerun import rerun as train_again
    from chajong.training.train import Options

    options = Options(out=out, layout=layout, cache_folder=cache, corrections=corrections)
    found = train_again(opened, data, options)
    for line in found.lines() if found is not None else ():
        print(line)


@runs_app.command("rm")
def remove(
    runs: Annotated[list[Path], typer.Argument(help="The folders of runs.")],
) -> None:
    """Put runs into the bin beside them."""
    from chajong.experiments.bin import remove

    for run in runs:
        place = run.resolve()
        print(f"{run} lies in {remove(run)} now; back with: {command('runs', 'restore', place)}")


@runs_app.command()
def restore(
    runs: Annotated[list[Path], typer.Argument(help="The folders that the runs had.")],
) -> None:
    """Get runs back from the bin."""
    from chajong.experiments.bin import restore

    for run in runs:
        print(f"{restore(run)} is back")


@runs_app.command()
def push(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    to: Annotated[Service, typer.Option(help="Where to.")],
) -> None:
    """Send a run to a service; what it has already is not sent again."""
    from chajong.tracking.send import push as send

    print(send(run, to))


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run, a blend, or its oof.parquet.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="What may be better than A.")],
    also_a: Annotated[
        list[Path] | None, typer.Option(help="A's recipe trained with another seed.")
    ] = None,
    also_b: Annotated[
        list[Path] | None, typer.Option(help="B's recipe trained with another seed.")
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            help="How much retraining moves a log loss (standard deviation); measured where there "
            "are several seeds, else 0.006."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The JSON file to write.")] = None,
) -> None:
    """Say whether B is better than A, worse, or whether the difference is noise."""
    from chajong.api_runs import compare

    check_ending(out, ".json")
    found = compare([a, *(also_a or [])], [b, *(also_b or [])], noise=noise)
    for line in found.lines():
        print(line)
    if out is not None:
        found.save(out)


runs_app.command(hidden=True)(compare)  # `diff` is there too, so people look for it there
