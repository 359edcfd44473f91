"""Tells the exact model of a car from a used-car photo, with a probability one can trust.

    import chajong

    run = chajong.train("PHOTOS", "cars-fast", out="runs/first")
    predictions = chajong.predict(run, "NEW_PHOTOS")

Verbs take paths and nouns, and return nouns. Importing this loads no noun and no torch: each verb
imports what it needs, each noun is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chajong.api import audit, blend, demo_photos, expect, load_recipe, train
from chajong.api_answers import (
    add_class,
    evaluate,
    export,
    heat,
    predict,
    remove_class,
    submit,
    verdicts,
)
from chajong.api_runs import (
    compare,
    diff,
    find_suspects,
    list_runs,
    note,
    out_of_fold,
    report,
    rerun,
)
from chajong.errors import ChajongError

if TYPE_CHECKING:
    from chajong.blending.blend import Blend
    from chajong.bundle import Bundle
    from chajong.comparison import Comparison
    from chajong.expectation import Expectation
    from chajong.experiments.diff import RunDiff
    from chajong.experiments.notes import Note
    from chajong.experiments.sameness import Sameness
    from chajong.labels import Labels
    from chajong.manifest import Manifest
    from chajong.photos.audit import Audit
    from chajong.predictions import Predictions
    from chajong.progress import quiet
    from chajong.recipe import Recipe
    from chajong.run import Run
    from chajong.score import Score
    from chajong.submission import Submission
    from chajong.suspects import Suspects

__all__ = [
    "Audit",
    "Blend",
    "Bundle",
    "ChajongError",
    "Comparison",
    "Expectation",
    "Labels",
    "Manifest",
    "Note",
    "Predictions",
    "Recipe",
    "Run",
    "RunDiff",
    "Sameness",
    "Score",
    "Submission",
    "Suspects",
    "add_class",
    "audit",
    "blend",
    "compare",
    "demo_photos",
    "diff",
    "evaluate",
    "expect",
    "export",
    "find_suspects",
    "heat",
    "list_runs",
    "load_recipe",
    "note",
    "out_of_fold",
    "predict",
    "quiet",
    "remove_class",
    "report",
    "rerun",
    "submit",
    "train",
    "verdicts",
]

# A verb has no module of its name right here: importing that would put the module in its place.
_HOMES = {
    "Audit": "chajong.photos.audit",
    "Blend": "chajong.blending.blend",
    "Bundle": "chajong.bundle",
    "Comparison": "chajong.comparison",
    "Expectation": "chajong.expectation",
    "Labels": "chajong.labels",
    "Manifest": "chajong.manifest",
    "Note": "chajong.experiments.notes",
    "Predictions": "chajong.predictions",
    "Recipe": "chajong.recipe",
    "Run": "chajong.run",
    "RunDiff": "chajong.experiments.diff",
    "Sameness": "chajong.experiments.sameness",
    "Score": "chajong.score",
    "Submission": "chajong.submission",
    "Suspects": "chajong.suspects",
    "quiet": "chajong.progress",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
