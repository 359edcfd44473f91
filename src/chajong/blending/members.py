"""The runs that a blend is made of."""

from pathlib import Path

from chajong.blending.blend import Blend
from chajong.errors import RunError
from chajong.run import Run


def members_of(blend: Blend) -> tuple[Run, ...]:
    """Open the runs of a blend.

    Args:
        blend: The blend; the folders of its runs must be where they were.

    Returns:
        A run for each member.

    Raises:
        RunError: If a run is not the one that was blended.
    """
    runs = tuple(Run.load(Path(member.run)) for member in blend.members)
    for run, member in zip(runs, blend.members, strict=True):
        if run.fingerprint != member.fingerprint or len(run.done) < len(run.models):
            raise RunError(
                f"The run in {run.folder} is not the one that was blended: it was trained again, "
                "with another recipe or on other data, or is not done. Blend again."
            )
    return runs
