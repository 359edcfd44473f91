"""What goes wrong on a device while it computes, in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from chajong.errors import ResourceError, TrainingError
from chajong.recipe_train import Train
from chajong.wording import first_line

_NO_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_COMPILERS = ("torch._dynamo", "torch._inductor")


@contextmanager
def explained(train: Train) -> Iterator[None]:
    """Say of failures that torch reports as errors of its own what they are.

    Args:
        train: The recipe's part.

    Yields:
        Nothing; the training goes inside.

    Raises:
        ResourceError: If there was too little memory.
        TrainingError: If the network could not be compiled.
    """  # noqa: DOC503 what it does not know it passes on
    what = f"for steps of {train.batch_size} photos"
    advice = (
        "Close what else needs memory, and the same command goes on; or train in a new folder with "
        f"train.batch_size={max(2, train.batch_size // 2)} and twice optim.accumulate, or with "
        "smaller photos."
    )
    try:
        with memory_explained(what, advice):
            yield
    except RuntimeError as error:
        if train.compile and type(error).__module__.startswith(_COMPILERS):
            raise TrainingError(
                f"torch.compile cannot compile the network here: {first_line(error)}. Set "
                "train.compile=false, which works everywhere, or install what it misses (a C++ "
                "compiler, as a rule)."
            ) from error
        raise


@contextmanager
def memory_explained(what: str, advice: str) -> Iterator[None]:
    """Say of a failure for want of memory what it was wanted for, and what to do.

    Args:
        what: Such as `to look at photos`.
        advice: What to do next.

    Yields:
        Nothing; what needs memory goes inside. It may also be put above a function.

    Raises:
        ResourceError: If there was too little memory.
    """  # noqa: DOC503 what it does not know it passes on
    try:
        yield
    except Exception as error:
        if not is_no_memory(error):
            raise
        said = first_line(error)
        raise ResourceError(f"There is too little memory {what}: {said}. {advice}") from error


def is_no_memory(error: Exception) -> bool:
    """Tell whether something failed for want of memory.

    Args:
        error: What was raised. Torch says some of it as a RuntimeError like any other.

    Returns:
        Whether it is that.
    """
    known = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, known) or any(each in first_line(error) for each in _NO_MEMORY)


told_of_looking = memory_explained(
    "to look at photos",
    "Close what else needs memory, then run the same command again; where it is a GPU's, "
    "CUDA_VISIBLE_DEVICES= in front of the command computes on the CPU.",
)
"""Stands above functions that look at photos."""
