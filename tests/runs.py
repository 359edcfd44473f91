"""Folders of runs that were never trained, and ways to damage them."""

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import polars as pl

from chajong.files import write_json
from chajong.labels import Labels
from chajong.manifest import ISSUE_COLUMNS, PHOTO_COLUMNS, Manifest
from chajong.metrics import Estimate
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.record import Record, now
from chajong.run import Run, finish_model
from chajong.run_start import start_run
from chajong.score import Score
from chajong.split import split
from tests.others import running

RECIPE = load_recipe("demo", ["train.epochs=3", "folds.num_folds=2"])
SCORE = Score(
    num_photos=8,
    num_unscored=0,
    unpredicted=(),
    log_loss=Estimate(0.5, 0.4, 0.6),
    top1=Estimate(0.9, 0.8, 1.0),
    top5=Estimate(1.0, 1.0, 1.0),
    macro_f1=Estimate(0.9, 0.8, 1.0),
    ece=Estimate(0.1, 0.0, 0.2),
    equal=(),
)


def photos(root: Path, changed: str = "") -> Manifest:
    names = [f"{label}/{number}.jpg" for label in ("K5", "쏘나타") for number in range(4)]
    table = pl.DataFrame(
        {
            "id": names,
            "path": names,
            "part": "train",
            "label": [name.split("/")[0] for name in names],
            "fold": None,
            "user_group": None,
            "size_bytes": 1000,
            "sha256": [f"{changed}{name}" for name in names],
            "phash": range(8),
            "width_px": 64,
            "height_px": 48,
            "format": "jpeg",
            "readable": True,
            "reason": None,
            "group": range(8),
            "scene": range(8),
        },
        schema_overrides=PHOTO_COLUMNS,
    ).select(*PHOTO_COLUMNS)
    issues = pl.DataFrame(schema=ISSUE_COLUMNS)
    return Manifest(Labels(("K5", "쏘나타")), root, table, issues)


def facts(recipe: Recipe, manifest: Manifest, models: tuple[str, ...] = ("0", "1")) -> Record:
    return Record(
        recipe=recipe.name,
        recipe_fingerprint=recipe.fingerprint,
        data=str(manifest.root),
        data_fingerprint=manifest.fingerprint,
        num_photos=manifest.table.height,
        models=models,
        weights="none",
        licence="",
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        created=now(),
        environment={"device": "cpu"},
    )


def started(
    folder: Path,
    recipe: Recipe = RECIPE,
    models: tuple[str, ...] = ("0", "1"),
    changed: str = "",
) -> Run:
    manifest = photos(folder.parent / "photos", changed)
    folds = split(manifest, 2, 0) if "all" not in models else None
    return start_run(folder, recipe, manifest, folds, facts(recipe, manifest, models))


def finished(folder: Path, **options: Any) -> Run:
    run = started(folder, **options)
    for name in run.models:
        finish_model(run.model_folder(name), {"seconds": 60.0}, [{"epoch": 1, "loss": 0.5}])
    write_json(run.score_path, SCORE.as_dict())
    return run


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def broken_record(folder: Path) -> None:
    (folder / "run.json").write_text('{"format": 1, ')


def record_of_a_list(folder: Path) -> None:
    (folder / "run.json").write_text("[]")


def record_in_other_encoding(folder: Path) -> None:
    (folder / "run.json").write_bytes(b"\xff\xfe")


def record_too_deep(folder: Path) -> None:
    (folder / "run.json").write_text("[" * 100_000)


def record_without_format(folder: Path) -> None:
    edit(folder / "run.json", lambda values: values.pop("format"))


def record_without_models(folder: Path) -> None:
    edit(folder / "run.json", lambda values: values.pop("models"))


def record_with_more(folder: Path) -> None:
    edit(folder / "run.json", lambda values: values.update(more=1))


def newer_format(folder: Path) -> None:
    edit(folder / "run.json", lambda values: values.update(format=2, more=1))


def no_recipe(folder: Path) -> None:
    (folder / "recipe.yaml").unlink()


def broken_recipe(folder: Path) -> None:
    (folder / "recipe.yaml").write_text("[")


def wrong_recipe(folder: Path) -> None:
    (folder / "recipe.yaml").write_text("name: demo\nnonsense: 1")


def odd_recipe(folder: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "extends: 2024-01-01\n")


def changed_recipe(folder: Path) -> None:
    path = folder / "recipe.yaml"
    text = path.read_text(encoding="utf-8")
    assert "epochs: 3" in text
    path.write_text(text.replace("epochs: 3", "epochs: 4"), encoding="utf-8")


def broken_labels(folder: Path) -> None:
    (folder / "labels.json").write_text("{}")


LOADING: dict[Callable[[Path], None], str] = {
    broken_record: "run.json is damaged: Expecting",
    record_of_a_list: "run.json is damaged",
    record_in_other_encoding: "run.json is damaged",
    record_too_deep: "run.json is damaged",
    record_without_format: "run.json is damaged: format: Field required",
    record_without_models: "run.json is damaged: models: Field required",
    record_with_more: "run.json is damaged: more: Extra inputs",
    newer_format: "was made by a newer version (format 2; this one reads up to 1). Update",
    no_recipe: "recipe.yaml cannot be read",
    broken_recipe: "recipe.yaml cannot be read",
    wrong_recipe: "nonsense: unknown key",
    odd_recipe: "extends: unknown key",
    changed_recipe: "recipe.yaml was changed after the run started. Restore it",
    broken_labels: "labels.json",
}


def broken_score(folder: Path) -> None:
    (folder / "score.json").write_text("{}")


def score_of_words(folder: Path) -> None:
    edit(folder / "score.json", lambda values: values["log_loss"].update(value="much"))


def broken_done(folder: Path) -> None:
    (folder / "fold-1" / "done.json").write_text("null")


LATER: dict[Callable[[Path], None], str] = {
    broken_score: "score.json is damaged: num_photos: Field required",
    score_of_words: "score.json is damaged: log_loss.value",
    broken_done: "done.json is damaged",
}


HOLDING = """
from chajong.run import Run
with Run.load(Path(sys.argv[1])).alone():
    print("ready", flush=True)
    sys.stdin.readline()
"""


def training(folder: Path) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Another process that trains a run, as far as others can tell."""
    return running(HOLDING, folder)
