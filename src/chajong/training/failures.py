"""What goes wrong on a device while it computes, in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from chajong.errors import ResourceError, TrainingError
from chajong.recipe import Train
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
    try:
        yield
    except RuntimeError as error:
        said = first_line(error)
        if isinstance(error, torch.OutOfMemoryError) or any(each in said for each in _NO_MEMORY):
            raise ResourceError(
                f"There is too little memory for steps of {train.batch_size} photos: {said}. "
                "Close what else needs memory, and the same command goes on; or train in a new "
                f"folder with train.batch_size={max(2, train.batch_size // 2)} and twice "
                "optim.accumulate, or with smaller photos."
            ) from error
        if train.compile and type(error).__module__.startswith(_COMPILERS):
            raise TrainingError(
                f"torch.compile cannot compile the network here: {said}. Set train.compile=false, "
                "which works everywhere, or install what it misses (a C++ compiler, as a rule)."
            ) from error
        raise
