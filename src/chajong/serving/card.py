"""The model card of a bundle: what is known of its answers, for programs and for people.

Shapes: n photos, c classes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from chajong.bundle import Facts, Proof
from chajong.labels import Labels
from chajong.look_alikes import look_alike_names
from chajong.metrics import Outcomes, outcomes
from chajong.predictions import Predictions
from chajong.score import Score

_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_NUM_PAIRS = 30


def make_card(
    facts: Facts,
    labels: Labels,
    licences: Sequence[dict[str, str]],
    score: Score | None,
    held_out: Predictions | None,
    failed: Sequence[tuple[Proof, Sequence[str]]],
) -> dict[str, Any]:
    """Collect what is known.

    Args:
        facts: How the bundle is asked.
        labels: The classes.
        licences: For each member what its first weights were and their licence.
        score: The held-out score; none for models of all photos.
        held_out: The predictions that it is computed from.
        failed: The ways to compute that are not good enough, and why.

    Returns:
        The card, as JSON holds it.
    """
    return {
        "source": facts.source,
        "created": facts.created,
        "made_by": facts.made_by,
        "num_classes": len(labels.names),
        "base_weights": list(licences),
        "proofs": [asdict(proof) for proof in facts.proofs],
        "not_proven": [{**asdict(proof), "why": list(why)} for proof, why in failed],
        "held_out_score": None if score is None else score.as_dict(),
        "risk_coverage": [] if held_out is None else risk_coverage(held_out, labels),
        "confused": [] if held_out is None else confused(held_out, labels),
        "look_alike_names": [
            {"name": pair.name, "other": pair.other, "reason": pair.reason}
            for pair in look_alike_names(labels.names)[:_NUM_PAIRS]
        ],
    }


def risk_coverage(held_out: Predictions, labels: Labels) -> list[dict[str, float]]:
    """Tell how often the surest answers are wrong.

    Args:
        held_out: Predictions with true classes.
        labels: The classes.

    Returns:
        For each share of photos that is answered, the surest first: the least probability of an
        answered one, and the share of the answered ones that are wrong.
    """
    found = _outcomes(held_out, labels)
    order = np.argsort(-found.confidence, kind="stable")
    wrong = (found.top != found.truth)[order]
    confidence = found.confidence[order]
    rows = []
    for share in _SHARES:
        count = max(1, round(share * len(wrong)))
        rows.append(
            {
                "coverage": share,
                "least_prob": round(float(confidence[count - 1]), 6),
                "risk": round(float(wrong[:count].mean()), 6),
            }
        )
    return rows


def confused(held_out: Predictions, labels: Labels) -> list[dict[str, Any]]:
    """List the pairs of classes that are taken for each other most often.

    Args:
        held_out: Predictions with true classes.
        labels: The classes.

    Returns:
        The pairs with how many photos of either were taken for the other, and of how many.
    """
    found = _outcomes(held_out, labels)
    names = [labels.names[place] for place in np.unique(labels.canonical)]
    sizes = Counter(found.truth.tolist())
    pairs = Counter(
        tuple(sorted(pair))
        for pair in zip(found.truth.tolist(), found.top.tolist(), strict=True)
        if pair[0] != pair[1]
    )
    return [
        {
            "name": names[one],
            "other": names[other],
            "confused": count,
            "of": sizes[one] + sizes[other],
        }
        for (one, other), count in pairs.most_common(_NUM_PAIRS)
    ]


def card_text(card: dict[str, Any]) -> str:
    """Write a card for people.

    Args:
        card: The card.

    Returns:
        Markdown.
    """
    return "\n".join(_lines(card)) + "\n"


def _lines(card: dict[str, Any]) -> Iterator[str]:
    yield f"# {card['source']}"
    yield ""
    yield f"{card['num_classes']:,} classes. Exported {card['created']} by {card['made_by']}."
    yield from ("", "## First weights", "")
    for one in card["base_weights"]:
        yield f"- {one['backbone']}: {one['weights']}. Licence: {one['licence']}"
    yield from ("", "## Compared with torch", "")
    yield from (f"- {Proof(**proof).line()}" for proof in card["proofs"])
    for failed in card["not_proven"]:
        yield f"- left out: {failed['runtime']} {failed['precision']}: {'; '.join(failed['why'])}"
    yield from ("", "## Score on held-out photos", "")
    if card["held_out_score"] is None:
        yield "None: every photo was learned, so nothing is known of others."
    else:
        yield from ("```text", *Score.from_dict(card["held_out_score"]).lines(), "```")
    yield from _table(
        "The surest answers",
        ("answered", "least probability", "wrong"),
        [
            (f"{row['coverage']:.0%}", f"{row['least_prob']:.3f}", f"{row['risk']:.2%}")
            for row in card["risk_coverage"]
        ],
    )
    yield from _table(
        "Taken for each other",
        ("class", "and", "photos", "of"),
        [
            (row["name"], row["other"], str(row["confused"]), str(row["of"]))
            for row in card["confused"]
        ],
    )
    yield from _table(
        "Names that may mean the same car",
        ("class", "and", "why"),
        [(row["name"], row["other"], row["reason"]) for row in card["look_alike_names"]],
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield from ("", f"## {title}", "")
        yield f"| {' | '.join(head)} |"
        yield f"| {' | '.join('---' for _ in head)} |"
        yield from (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def _outcomes(held_out: Predictions, labels: Labels) -> Outcomes:
    truth = held_out.truth()
    ok = held_out.ok
    classes = labels.indices([truth[id_] for id_ in held_out.ids])
    return outcomes(held_out.probabilities()[ok], classes[ok], labels.canonical)
