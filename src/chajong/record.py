"""What is on record of a run from its first moment on."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from chajong.choices import Layout

FORMAT = 1
"""Of a run's folder."""


class Record(BaseModel):
    """The facts of a run that are known when it starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    recipe: str
    recipe_fingerprint: str
    data: str
    data_fingerprint: str
    num_photos: int
    models: tuple[str, ...]
    weights: str
    licence: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    created: str
    environment: dict[str, Any]
    corrections: str | None = None
    corrected: str | None = None
    teacher: str | None = None
    teacher_fingerprint: str | None = None
    layout: Layout | None = None
    corrections_file: str | None = None

    @property
    def is_noncommercial(self) -> bool:
        """Whether the licence of the first weights forbids commercial use."""
        return forbids_commerce(self.licence)


def forbids_commerce(licence: str) -> bool:
    """Tell whether weights may not be used commercially.

    Args:
        licence: As their publisher states it.

    Returns:
        Whether it says so.
    """
    said = licence.lower()
    return any(mark in said for mark in ("-nc", "noncommercial", "non-commercial"))


def now() -> str:
    """Tell the time for a record.

    Returns:
        ISO 8601 with the offset, to the second.
    """
    return datetime.now().astimezone().isoformat(timespec="seconds")
