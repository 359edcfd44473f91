"""A class that was added to a bundle from a few photos, without training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Added:
    """What is on record of an added class, and how its probability is formed.

    Attributes:
        name: The class.
        added: When, ISO 8601.
        by: Who did it, as they said.
        made_by: The version of chajong that did it.
        parent: The fingerprint of the bundle that it was added to.
        photos: The names of its photos.
        file: Their embeddings, float16 (m, d).
        weights: Of each figure of `chajong.serving.newcomers`, and the shift.
        old_log_loss_gap: What it costs the classes that were there, in nats, on held-out photos.
        expected_recall: The share of photos of a class that are found, by leaving out each class
            in turn.
    """

    name: str
    added: str
    by: str
    made_by: str
    parent: str
    photos: tuple[str, ...]
    file: str
    weights: tuple[float, ...]
    old_log_loss_gap: float
    expected_recall: float
