"""The runs that a blend is made of."""

from pathlib import Path

from chajong.blending.blend import Blend
from chajong.errors import RunError
from chajong.files import sha256_of
from chajong.run import Run
from chajong.wording import listed


def members_of(blend: Blend) -> tuple[Run, ...]:
    """Open the runs of a blend.

    Args:
        blend: The blend; the folders of its runs must be where they were.

    Returns:
        A run for each member.

    Raises:
        RunError: If a run is gone, or is not the one that was blended.
    """
    if gone := [member.run for member in blend.members if not Run.is_in(Path(member.run))]:
        raise RunError(
            f"{listed(gone)} of this blend is not there any more. Put it back, or blend again: "
            "chajong blend RUN..."
        )
    runs = tuple(Run.load(Path(member.run)) for member in blend.members)
    for run, member in zip(runs, blend.members, strict=True):
        # Blends of older versions do not know what their members said.
        says_the_same = not member.answers or member.answers == answers_of(run)
        is_known = run.fingerprint == member.fingerprint and says_the_same
        if not is_known or len(run.done) < len(run.models):
            raise RunError(
                f"The run in {run.folder} is not the one that was blended: it was trained again, "
                "perhaps with another recipe or on other data, or is not done. Blend again."
            )
    return runs


def answers_of(run: Run) -> str:
    """Tell a training from another one by the same recipe: by what its models said.

    Args:
        run: The run.

    Returns:
        Hash of its out-of-fold table; empty where there is none.
    """
    table = run.predictions_path
    return sha256_of(table) if table.is_file() else ""
