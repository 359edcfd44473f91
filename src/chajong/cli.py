"""The command line: each command is one verb, and every mistake one message."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from chajong.cli_answers import evaluate, submit
from chajong.cli_bundle import add_class, export, heat, predict
from chajong.cli_classes import classes
from chajong.cli_oof import blend, expect, suspects
from chajong.cli_options import (
    CacheOption,
    CorrectionsOption,
    Data,
    LayoutOption,
)
from chajong.cli_pages import report, review, watch
from chajong.cli_runs import compare, runs_app
from chajong.cli_serve import serve
from chajong.environment import package_version
from chajong.errors import ChajongError
from chajong.photos.walk import check_utf8
from chajong.progress import Interrupted
from chajong.stop import killed_as_stopped

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
recipes_app = typer.Typer(help="List the named recipes, or show one.", rich_markup_mode=None)
app.add_typer(recipes_app, name="recipes")
app.add_typer(runs_app, name="runs")


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    """Tells the exact model of a car from a photo, with a probability one can trust."""
    if version:
        print(f"chajong {package_version('chajong')}")
        raise typer.Exit


_STOPPED = 130


def main() -> None:
    """Run the command line.

    Raises:
        SystemExit: With 0 if all went well, 2 for a mistake that the user can put right, 130 if
            the user stopped it. A polite kill is heeded as Ctrl-C is, and then died of.
    """
    with killed_as_stopped():
        _main()


def _main() -> None:
    try:
        _refuse_other_letters(sys.argv[1:])
        app()
    except ChajongError as error:
        print(f"chajong: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Interrupted as stopped:
        print(f"chajong: {stopped}", file=sys.stderr)
        raise SystemExit(_STOPPED) from None
    except SystemExit as ended:
        if ended.code == _STOPPED:  # what becomes of a KeyboardInterrupt, without a word
            print("chajong: stopped; the same command goes on with what is done.", file=sys.stderr)
        raise
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has enough.
        sys.stderr.close()
        raise SystemExit(0) from None
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("", "chajong"):
            raise
        print(
            f"chajong: {error.name} is not installed, and this command needs it. `chajong doctor` "
            "says how to install it.",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"chajong: {error.filename}: {error.strerror}. Is this the right name, and may this "
            "account read it and enter the folders above it?",
            file=sys.stderr,
        )
        raise SystemExit(2) from None


def _refuse_other_letters(words: Sequence[str]) -> None:
    # They would be put on record: better said now than after the work.
    here = list[str]()
    with suppress(OSError):  # it may be gone
        here.append(str(Path.cwd()))
    for word in (*here, *words):
        check_utf8(word)


@app.command()
def doctor() -> None:
    """Check this machine: versions, devices, memory, cache, pretrained weights."""
    from chajong.doctor import examine

    for line in examine():
        print(line)


@app.command("demo-photos")
def demo_photos(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    models: Annotated[int, typer.Option(min=2, help="How many car models.")] = 12,
    per_model: Annotated[int, typer.Option(min=4, help="Training photos of each.")] = 60,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    class_names: Annotated[
        Path | None, typer.Option(help="A file with a class name a line, instead of --models.")
    ] = None,
) -> None:
    """Draw car photos to try everything with."""
    from chajong.api import demo_photos as draw
    from chajong.tables import read_lines

    names = read_lines(class_names) if class_names is not None else None
    draw(out, models, per_model, seed=seed, class_names=names)
    print(f"{out}: train/, test/, test.csv, sample_submission.csv, test_labels.csv, about.csv")


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(help="Folder for the photos and all results.")] = Path(
        "demo"
    ),
) -> None:
    """Run the whole chain on drawn photos: audit, train, score, predict, submit."""
    from chajong.demo import run_demo

    for line in run_demo(out):
        print(line)


@app.command()
def audit(
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Folder for tables, picture and page.")] = None,
    layout: LayoutOption = None,
    cache: CacheOption = None,
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE|pretrained|none",
            help="Let a network look too: for photos of no whole car, or not like their class.",
        ),
    ] = "none",
    backbone: Annotated[
        str | None,
        typer.Option(
            help="The network: a timm name, or torchvision/NAME; mobilenetv2_100 if not given."
        ),
    ] = None,
    allow_noncommercial: Annotated[
        bool, typer.Option(help="Accept weights that may not be used commercially.")
    ] = False,
    corrections: CorrectionsOption = None,
) -> None:
    """Look through photos for what spoils a training: damage, duplicates, odd ones, a shift."""
    from chajong.api import audit as look_through
    from chajong.reporting.audit_page import save_audit
    from chajong.run import refuse_run

    if out is not None:
        refuse_run(out, "an audit")
    found = look_through(
        data,
        layout=layout,
        cache=cache,
        weights=weights,
        backbone=backbone,
        allow_noncommercial=allow_noncommercial,
        corrections=corrections,
    )
    saved = [] if out is None else save_audit(found, out)
    for line in (*found.lines(), *saved):
        print(line)


class _Train(TyperCommand):
    # What other tools take as options, such as --epochs, is a recipe's here.
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        known = {name for option in self.params for name in option.opts}
        for word in args:
            name, _, value = word.partition("=")
            if name.startswith("--") and name not in known and (keys := _keys_of(name[2:])):
                meant = " or ".join(f"--set {key}={value or '...'}" for key in keys)
                ctx.fail(f"No such option: {name}. It is part of the recipe: {meant}")
        return super().parse_args(ctx, args)


def _keys_of(name: str) -> list[str]:
    from chajong.recipe_file import flat
    from chajong.recipes import named_recipe

    wanted = name.replace("-", "_")
    keys = flat(named_recipe("convnext-focal-ema-mixup"))
    return [key for key in keys if wanted in (key, key.rpartition(".")[2])]


@app.command(cls=_Train)
def train(
    data: Data,
    recipe: Annotated[str, typer.Option(help="A named recipe, or a YAML file.")] = "cars-fast",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")
    ] = None,
    fold: Annotated[
        str | None, typer.Option(help="One fold by its number, or all: one model of every photo.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    layout: LayoutOption = None,
    cache: CacheOption = None,
    cache_limit: Annotated[
        str | None, typer.Option(help="Most that resized photos may take, such as 20GB.")
    ] = None,
    allow_noncommercial: Annotated[
        bool, typer.Option(help="Accept weights that may not be used commercially.")
    ] = False,
    corrections: CorrectionsOption = None,
    teacher: Annotated[
        Path | None, typer.Option(help="The run or blend that a recipe with 'distil' learns from.")
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="wandb|mlflow|tensorboard",
            help="Show the run in a service; can be repeated.",
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Folds at a time, each on its share of the cores or a GPU of its own: faster "
            "where there are several, and takes as many times the memory.",
        ),
    ] = 1,
) -> None:
    """Train every fold that is not trained yet, then score the out-of-fold predictions."""
    from chajong.api import train as run_training

    run = run_training(
        data,
        recipe,
        changes=changes or (),
        fold=fold,
        out=out,
        layout=layout,
        cache=cache,
        cache_limit=cache_limit,
        allow_noncommercial=allow_noncommercial,
        corrections=corrections,
        track=track or (),
        teacher=teacher,
        jobs=jobs,
    )
    for line in run.summary():
        print(line)


for command in (
    *(suspects, review, blend, expect, compare, report, watch),
    *(export, predict, heat, add_class, serve, evaluate, classes, submit),
):
    app.command()(command)


@recipes_app.callback(invoke_without_command=True)
def recipes(context: typer.Context) -> None:
    """List the named recipes, or show one."""
    if context.invoked_subcommand is not None:
        return
    from chajong.recipes import RECIPES

    for name, recipe in RECIPES.items():
        print(f"{name:<26} {recipe.about}")


@recipes_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="A named recipe, or a YAML file.")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")
    ] = None,
) -> None:
    """Print a whole recipe as YAML."""
    from chajong.recipes import load_recipe

    print(load_recipe(name, changes or []).to_yaml(), end="")
