"""Commands to copy: what makes a run or a blend again, and what comes next."""

from collections.abc import Mapping
from pathlib import Path

from chajong.blending.blend import Blend
from chajong.file_names import RECIPE
from chajong.run import Run
from chajong.wording import command


def folds_again(run: Run) -> tuple[str | None, ...]:
    """Tell which folds to train, one command after another, to have the same models again.

    Args:
        run: A run, done or not.

    Returns:
        Numbers of folds, `all`, or none for every fold at once.
    """
    if run.models == ("all",):
        return run.models
    return (None,) if run.done in ((), run.models) else run.done


def train_command(
    run: Run,
    *,
    out: Path | None = None,
    corrections: Path | None = None,
    fold: str | None = None,
) -> str:
    """Write the command that trains as a run was trained, for a shell.

    Args:
        run: The run.
        out: The new run's folder, if it is to be said.
        corrections: Decisions about photos; those of the run if none.
        fold: The one fold to train, or `all`; every fold if none.

    Returns:
        A line; `FILE` stands where it is not on record where the run's corrections lay.
    """
    record = run.record
    options = {
        "--recipe": run.folder.resolve() / RECIPE,
        "--layout": record.layout,
        "--corrections": corrections or _corrections(run),
        "--teacher": record.teacher,
        "--fold": fold,
        "--out": out,
    }
    flags = ["--allow-noncommercial"] if record.is_noncommercial else []
    return command("train", record.data, *_said(options), *flags)


def train_commands(run: Run) -> list[str]:
    """Write the commands that train a run again in a folder beside it, for a shell.

    Args:
        run: The run.

    Returns:
        A line for each part of `folds_again`.
    """
    return [train_command(run, out=beside(run.folder), fold=fold) for fold in folds_again(run)]


def go_on_command(run: Run) -> str:
    """Write the command that trains what a run still lacks, for a shell.

    Args:
        run: The run.

    Returns:
        A line.
    """
    fold = "all" if run.models == ("all",) else None
    return train_command(run, out=run.folder.resolve(), fold=fold)


def rerun_command(run: Run) -> str:
    """Write the command that trains a run again and compares, for a shell.

    Args:
        run: The run.

    Returns:
        A line.
    """
    return command("runs", "rerun", run.folder.resolve())


def blend_command(folder: Path, blend: Blend) -> str:
    """Write the command that makes a blend again, for a shell.

    Args:
        folder: The blend's.
        blend: The blend; of one that does not know how it was made, the runs that it uses.

    Returns:
        A line.
    """
    made = blend.made
    runs = [member.run for member in blend.members] if made is None else made.runs
    options = {
        "--budget": None if made is None else made.budget,
        "--photos": None if made is None else made.photos,
        "--out": beside(folder),
    }
    return command("blend", *runs, *_said(options))


def review_command(run: Run) -> str:
    """Write the command that shows a run's label suspects, for a shell.

    Args:
        run: The run.

    Returns:
        A line; a review goes on with the decisions that the run was trained with.
    """
    options = {"--corrections": _corrections(run)}
    return command("review", run.folder.resolve(), *_said(options))


def _corrections(run: Run) -> str | None:
    record = run.record
    return None if record.corrections is None else record.corrections_file or "FILE"


def beside(folder: Path) -> Path:
    """Name the folder of what is made again.

    Args:
        folder: That of the first time.

    Returns:
        The one beside it, with `-again` behind its name.
    """
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}-again")


def _said(options: Mapping[str, object]) -> list[str]:
    return [
        word for name, value in options.items() if value is not None for word in (name, str(value))
    ]
