"""How often answers are wrong for a stated risk, and how deep they go, on photos kept apart.

Thresholds are fitted on the out-of-fold table of a run or a blend and on nothing else, then used on
predictions of test photos, whose labels only judge. The second table shows what the fit foretold:
each out-of-fold photo by thresholds that were fitted without it.

    python -m benchmarks.stated_risk RUN|BLEND TEST_PREDICTIONS --labels FILE [--risks 0.01 0.02]
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chajong.blending.subject import Subject
from chajong.catalogue import known_catalogue
from chajong.depths import DEEPEST_FIRST, Depths
from chajong.predictions import Predictions
from chajong.risk import Risks, Stated, Thresholds, table_of
from chajong.score import read_truth

RISKS = (0.01, 0.02, 0.05, 0.1)
"""Those of the table."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="the folder of a run of folds or of a blend")
    parser.add_argument("test", type=Path, help="its predictions of test photos, as Parquet")
    parser.add_argument("--labels", type=Path, required=True, help="their classes: ID,label")
    parser.add_argument("--risks", type=float, nargs="+", default=RISKS)
    given = parser.parse_args()
    subject = Subject.open(given.source)
    table, photos = subject.table, subject.manifest.table
    if table is None:
        raise SystemExit(f"{given.source} has no out-of-fold table: train all its folds.")
    depths = Depths.of(known_catalogue(), subject.labels)
    group_of = dict(zip(photos["id"], photos["group"], strict=True))
    held = Risks.of(table, subject.labels, depths, group_of)
    test = judged(Predictions.load(given.test), read_truth(given.labels), subject, depths)
    fitted = [held.thresholds(risk) for risk in given.risks]
    _print(f"{len(test.groups):,} test photos", [_used(each, test) for each in fitted])
    foretold = [held.stated(risk) for risk in given.risks]
    _print(f"foretold by {len(held.groups):,} out-of-fold photos", foretold)


def judged(
    predictions: Predictions, truth: dict[str, str], subject: Subject, depths: Depths
) -> Risks:
    """Look up how sure and how right predictions of other photos are.

    Args:
        predictions: The predictions; photos without one, or of other classes, are left out.
        truth: The class of each photo.
        subject: Whose classes they are.
        depths: The levels of those.

    Returns:
        How sure and how right they are.
    """
    if lost := [id_ for id_ in predictions.ids if id_ not in truth]:
        raise SystemExit(f"{len(lost):,} photos have no label, the first is {lost[0]!r}.")
    asked = [
        place for place, id_ in enumerate(predictions.ids) if truth[id_] in subject.labels.names
    ]
    if num_others := len(predictions.ids) - len(asked):
        print(f"{num_others:,} photos are left out: their classes were not learned\n")
    ids = tuple(predictions.ids[place] for place in asked)
    known = replace(
        predictions,
        ids=ids,
        statuses=tuple(predictions.statuses[place] for place in asked),
        log_probs=predictions.log_probs[asked],
        kind="holdout",
        labels=tuple(truth[id_] for id_ in ids),
    )
    return Risks.of(known, subject.labels, depths)


def _used(thresholds: Thresholds, test: Risks) -> Stated:
    return Stated.of(thresholds.risk, thresholds.deepest(test.sayable), test.right, test.groups)


def _print(title: str, rows: Sequence[Stated]) -> None:
    head = ("risk", *DEEPEST_FIRST, "none", "wrong of those answered")
    print(f"\n{title}\n\n| {' | '.join(head)} | at most risk + 0.01 |")
    print(f"|{' --- |' * (len(head) + 1)}")
    for row, cells in zip(rows, table_of(rows), strict=True):
        kept = "yes" if (row.error or 0.0) <= row.risk + 0.01 else "no"
        print(f"| {' | '.join(cells)} | {kept} |")


if __name__ == "__main__":
    main()
