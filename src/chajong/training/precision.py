"""The number format of a network's inner products."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from chajong.errors import RecipeError
from chajong.training.world import World

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(asked: str, device: torch.device) -> str:
    """Choose the fastest precision that the device computes natively, or check the one asked for.

    Args:
        asked: `auto`, `fp32`, `bf16` or `fp16`.
        device: Where the network will be.

    Returns:
        `fp32`, `bf16` or `fp16`.

    Raises:
        RecipeError: If fp16 is asked for on a CPU, whose small range needs a GPU's loss scaling.
    """
    if asked == "fp16" and device.type != "cuda":
        raise RecipeError(
            "train.precision 'fp16' needs a GPU. Here there is none: choose auto, fp32 or bf16."
        )
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if _cpu_computes_bf16() else "fp32"


def agreed_precision(asked: str, world: World) -> str:
    """Choose a precision for several processes, whose gradients become one.

    Args:
        asked: As in `choose_precision`.
        world: The processes, perhaps on GPUs of different kinds.

    Returns:
        What all of them chose, or `fp32`, which all compute.

    Raises:
        RecipeError: As in `choose_precision`.
    """  # noqa: DOC502 raised by `choose_precision`
    found = set(world.gather(choose_precision(asked, world.device)))
    return found.pop() if len(found) == 1 else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Compute inner products in a precision.

    Args:
        device: Where the network is.
        precision: `fp32`, `bf16` or `fp16`.

    Returns:
        A context.
    """
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_TYPES[precision])


def _cpu_computes_bf16() -> bool:
    # Without these instructions bf16 is emulated, ten times slower than fp32.
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
