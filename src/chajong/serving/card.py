"""The model card of a bundle: what is known of its answers, for programs and for people."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from chajong.bundle_facts import Facts, Proof
from chajong.depths import DEEPEST_FIRST
from chajong.diagnosis import Diagnosis
from chajong.labels import Labels
from chajong.look_alikes import look_alike_names
from chajong.predictions import Predictions
from chajong.risk import SHOWN_RISKS, Risks, Stated, table_of
from chajong.score import Score
from chajong.unknown import Unknown

_NUM_PAIRS = 30


def make_card(
    facts: Facts,
    labels: Labels,
    licences: Sequence[dict[str, str]],
    score: Score | None,
    held_out: Predictions | None,
    failed: Sequence[tuple[Proof, Sequence[str]]],
    risks: Risks | None = None,
    unknown: Unknown | None = None,
) -> dict[str, Any]:
    """Collect what is known.

    Args:
        facts: How the bundle is asked.
        labels: The classes.
        licences: For each member what its first weights were and their licence.
        score: The held-out score; none for models of all photos.
        held_out: The predictions that it is computed from.
        failed: The ways to compute that are not good enough, and why.
        risks: How sure and how right held-out answers were; none for models of all photos.
        unknown: How well unknown cars may be told; none where no photo is held out.

    Returns:
        The card, as JSON holds it.
    """
    found = None if held_out is None else Diagnosis.of(held_out, labels)
    return {
        "source": facts.source,
        "created": facts.created,
        "made_by": facts.made_by,
        **about_names(labels),
        "base_weights": list(licences),
        "proofs": [asdict(proof) for proof in facts.proofs],
        "not_proven": [{**_figures(proof), "why": list(why)} for proof, why in failed],
        "held_out_score": None if score is None else score.as_dict(),
        "risk_coverage": [asdict(row) for row in found.answered()] if found else [],
        "stated_risk": [asdict(risks.stated(risk)) for risk in SHOWN_RISKS] if risks else [],
        "unknown_cars": None if unknown is None else asdict(unknown),
        "confused": [asdict(pair) for pair in found.mistaken()[:_NUM_PAIRS]] if found else [],
    }


def _figures(proof: Proof) -> dict[str, Any]:
    # What never answered has none.
    figures = asdict(proof)
    return figures if proof.num_photos else {key: figures[key] for key in ("runtime", "precision")}


def about_names(labels: Labels) -> dict[str, Any]:
    """Collect what is known of the names of classes alone.

    Args:
        labels: The classes, those added later too.

    Returns:
        A part of the card.
    """
    alike = look_alike_names(labels.names)[:_NUM_PAIRS]
    return {
        "num_classes": len(labels.names),
        "look_alike_names": [
            {"name": pair.name, "other": pair.other, "reason": pair.reason} for pair in alike
        ],
    }


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
    yield from _added(card.get("added", []))
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
        held_out = TypeAdapter(Score).validate_python(card["held_out_score"])
        yield from ("```text", *held_out.lines(), "```")
    yield from _table(
        "The surest answers",
        ("answered", "least probability", "wrong"),
        [
            (f"{row['share']:.0%}", f"{row['least_prob']:.3f}", f"{row['risk']:.2%}")
            for row in card["risk_coverage"]
        ],
    )
    yield from _table(
        "How deep answers go",
        ("stated risk", *DEEPEST_FIRST, "none", "wrong of those answered"),
        list(table_of([Stated(**row) for row in card["stated_risk"]])),
    )
    yield from _unknown(card.get("unknown_cars"))
    yield from _table(
        "Taken for each other",
        ("class", "and", "photos", "of"),
        [
            (row["name"], row["other"], str(row["num"] + row["num_back"]), str(row["num_photos"]))
            for row in card["confused"]
        ],
    )
    yield from _table(
        "Names that may mean the same car",
        ("class", "and", "why"),
        [(row["name"], row["other"], row["reason"]) for row in card["look_alike_names"]],
    )


def _unknown(found: dict[str, Any] | None) -> Iterator[str]:
    if found is None:
        return
    area = found["auc"]
    yield from ("", "## Cars of models that were not learned", "")
    yield (
        f"Foretold from {found['num_photos']:,} held-out photos, each as if its class had not been "
        f"learned: AUROC {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f}), "
        f"{found['strange']:.1%} called strange."
    )


def _added(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from _table(
        "Classes added without training",
        ("class", "photos", "added", "by", "cost to the others, nats", "expected to be found"),
        [
            (
                row["name"],
                str(len(row["photos"])),
                row["added"],
                row["by"],
                f"{row['old_log_loss_gap']:.4f}",
                f"{row['expected_recall']:.0%}",
            )
            for row in rows
        ],
    )
    if len(rows) > 1:
        together = sum(row["old_log_loss_gap"] for row in rows)
        yield ""
        yield f"Together they cost the learned classes at most {together:.4f} nats a photo."


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield from ("", f"## {title}", "")
        yield f"| {' | '.join(head)} |"
        yield f"| {' | '.join('---' for _ in head)} |"
        yield from (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
