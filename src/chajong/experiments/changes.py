"""What two runs have on record that is not the same."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from chajong.recipe_file import differences
from chajong.run import Run

_NOT_COMPARED = {"command", "code", "commit"}  # the last two are lines of their own


@dataclass(frozen=True)
class Changes:
    """What two runs have on record that is not the same, each a line such as `optim.lr: 1 -> 2`.

    Attributes:
        recipe: Values that decide how to train, by their dotted paths.
        data: Photos, labels, contents, groups.
        weights: What the training starts from.
        teacher: What it learns from beside the labels.
        models: Which folds, or whether one model of every photo.
        code: Version, commit and fingerprint of this program.
        environment: Machine, device, packages.
    """

    recipe: tuple[str, ...]
    data: tuple[str, ...]
    weights: tuple[str, ...]
    teacher: tuple[str, ...]
    models: tuple[str, ...]
    code: tuple[str, ...]
    environment: tuple[str, ...]

    @property
    def none(self) -> bool:
        """Whether all on record is the same."""
        return not any(vars(self).values())

    def lines(self) -> list[str]:
        """Say what is not the same, for a terminal.

        Returns:
            A line for each part that is the same, one a change for the others.
        """
        made = []
        for part, changes in vars(self).items():
            made += [f"{part:<12} {change}" for change in changes or ("the same",)]
        return made


def changes_between(a: Run, b: Run) -> Changes:
    """Look up what two runs have on record that is not the same.

    Args:
        a: One run.
        b: Another.

    Returns:
        The changes from the first to the second.

    Raises:
        DataError: If their data are not the same and a manifest cannot be read.
    """  # noqa: DOC502 raised by `Manifest.load`
    here, there = a.record.environment, b.record.environment
    versions = [
        {"version": _packages(each).get("chajong"), "commit": each.get("commit")}
        for each in (here, there)
    ]
    code = list(_unlike(*versions))
    if not code and here.get("code") != there.get("code"):
        code = [f"source files: {here.get('code')} -> {there.get('code')}"]
    starts = [{"start": run.record.weights, "licence": run.record.licence} for run in (a, b)]
    teachers = [{"fingerprint": run.record.teacher_fingerprint} for run in (a, b)]
    models = [{"trained": ", ".join(run.done) or "nothing"} for run in (a, b)]
    return Changes(
        recipe=tuple(_recipe(a, b)),
        data=tuple(_data(a, b)) if a.record.data_fingerprint != b.record.data_fingerprint else (),
        weights=tuple(_unlike(*starts)),
        teacher=tuple(_unlike(*teachers)),
        models=tuple(_unlike(*models)),
        code=tuple(code),
        environment=tuple(_unlike(_surroundings(a), _surroundings(b))),
    )


def recipe_paths(a: Run, b: Run) -> set[str]:
    """Name the values of two recipes that are not the same.

    Args:
        a: One run.
        b: Another.

    Returns:
        Dotted paths.
    """
    return set(differences(a.recipe, b.recipe))


def _recipe(a: Run, b: Run) -> Iterator[str]:
    for path, (old, new) in differences(a.recipe, b.recipe).items():
        yield f"{path}: {_said(old)} -> {_said(new)}"


def _data(a: Run, b: Run) -> Iterator[str]:
    columns = ["id", "label", "sha256", "group"]
    # A group goes by its first photo: its number also hangs on photos that are not trained on.
    left, right = (
        run.manifest().trainable().with_columns(pl.col("id").first().over("group").alias("group"))
        for run in (a, b)
    )
    yield f"photos: {left.height:,} -> {right.height:,}"
    both = left.select(columns).join(right.select(columns), on="id", suffix="_b")
    counts = {
        "only in the first": left.height - both.height,
        "only in the second": right.height - both.height,
        "with another label": int((both["label"] != both["label_b"]).sum()),
        "with another content": int((both["sha256"] != both["sha256_b"]).sum()),
        "with other near-duplicates": int((both["group"] != both["group_b"]).sum()),
    }
    yield from (f"{count:,} photo(s) {what}" for what, count in counts.items() if count)
    corrected = [{"corrections": run.record.corrected or "none"} for run in (a, b)]
    yield from _unlike(*corrected)


def _surroundings(run: Run) -> dict[str, Any]:
    known = run.record.environment
    facts = [run.facts(name) for name in run.done[:1]]
    flat = {key: value for key, value in known.items() if not isinstance(value, dict)}
    trained = (
        {key: facts[0].get(key) for key in ("precision", "processes", "threads")} if facts else {}
    )
    packages = {key: value for key, value in _packages(known).items() if key != "chajong"}
    return {k: v for k, v in {**flat, **packages, **trained}.items() if k not in _NOT_COMPARED}


def _packages(environment: Mapping[str, Any]) -> dict[str, Any]:
    found = environment.get("packages")
    return found if isinstance(found, dict) else {}


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*a, *b]):
        if a.get(key) != b.get(key):
            yield f"{key}: {_said(a.get(key))} -> {_said(b.get(key))}"


def _said(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)
