"""What the long measurements share: runs that are trained once, their answers, and tables."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from chajong.predictions import Predictions
from chajong.progress import say
from chajong.recipe import Recipe
from chajong.recipe_file import differences
from chajong.run import Run
from chajong.training.predict import predict
from chajong.training.train import Options, train


def trained(data: Path, recipe: Recipe, options: Options) -> Run:
    """Train a run, or go on with it; one that is done is only opened."""
    folder = options.out
    if folder is None:
        raise ValueError("a run that is trained once needs a folder: Options(out=...)")
    if Run.is_in(folder):
        run = Run.load(folder)
        asked = (options.fold,) if options.fold is not None else run.models
        same_data = Path(run.record.data) == data.resolve()
        # Another recipe or other data: `train` says what differs.
        if same_data and not differences(run.recipe, recipe) and set(asked) <= set(run.done):
            say(f"{folder} is trained")
            return run
    train(data, recipe, options)
    return Run.load(folder)


def answers(run: Run, data: Path, name: str = "test") -> Predictions:
    """What a run says of the test photos; asked once, and kept under this name."""
    path = run.folder / f"{name}.parquet"
    if path.is_file():
        made = Predictions.load(path)
        if made.run == run.fingerprint:
            return made
    made = predict(run, data)
    made.save(path)
    return made


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean and sample standard deviation, where there are several."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(text: str, path: Path) -> None:
    """Print a text, and keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(text, end="")
