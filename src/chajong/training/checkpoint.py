"""Where an unfinished training stands: enough to go on as if nothing had happened."""

import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chajong.errors import ResourceError, RunError
from chajong.files import write_bytes
from chajong.progress import say
from chajong.training.failures import is_no_memory
from chajong.wording import first_line

if TYPE_CHECKING:
    from chajong.training.fit import Fit


@dataclass
class Checkpoint:
    """The place in a training.

    Every batch and all that is drawn for it follow from the place alone, so no generator's state
    is kept.

    Args:
        epoch: Epochs done.
        step: Batches of the next epoch done.
        updates: Steps of the optimiser done.
        loss_sum: Sum of the losses of this epoch's batches.
        seconds: Time that this epoch's batches took.
        best_value: Best validation log loss so far.
        best_epoch: Its epoch, from 1; 0 before any.
        best: Weights of that epoch, where the recipe keeps them.
        stopped_early: Whether patience has run out.
        history: What was measured, an entry an epoch.
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best_value: float = float("inf")
    best_epoch: int = 0
    best: dict[str, dict[str, Tensor]] | None = None
    stopped_early: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path, fit: "Fit") -> None:
        """Write the place and everything that changes during training, atomically.

        Args:
            path: The file.
            fit: The training.
        """
        scale = fit.scaler.get_scale()
        gradients = {
            name: parameter.grad / scale
            for name, parameter in fit.network.named_parameters()
            if parameter.grad is not None
        }
        state = {
            "at": {f.name: getattr(self, f.name) for f in fields(self)},
            "weights": fit.states(),
            "optimiser": fit.optimiser.state_dict(),
            "precision": fit.precision,
            "scaler": fit.scaler.state_dict(),
            # Batches that were accumulated but not yet applied.
            "gradients": gradients,
        }
        # By way of memory: written directly, a full disk is torch's own error, without its cause.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_bytes(path, buffer.getbuffer())

    @staticmethod
    def restore(path: Path, fit: "Fit") -> "Checkpoint":
        """Put a training back to where it stood, even if it computes in another precision now.

        Args:
            path: The file; where it is missing, training starts at the beginning.
            fit: The training, changed in place.

        Returns:
            The place.

        Raises:
            RunError: If the file is damaged or of another network.
            ResourceError: If it cannot be read, or there is no memory for it.
        """
        if not path.exists():
            return Checkpoint()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            fit.load_states(state["weights"])
            fit.optimiser.load_state_dict(state["optimiser"])
            began_in = state.get("precision", fit.precision)
            if began_in == fit.precision:
                fit.scaler.load_state_dict(state["scaler"])
            scale = fit.scaler.get_scale()
            for name, parameter in fit.network.named_parameters():
                gradient = state["gradients"].get(name)
                parameter.grad = None if gradient is None else gradient.to(parameter.device) * scale
            at = Checkpoint(**state["at"])
        except Exception as error:  # damage shows in dozens of ways
            if isinstance(error, OSError) or is_no_memory(error):
                raise ResourceError(
                    f"The checkpoint {path} cannot be opened now: {first_line(error)} "
                    f"({type(error).__name__}). It is kept: free memory or give access, then run "
                    "the same command again."
                ) from error
            raise RunError(
                f"The checkpoint {path} cannot be used: {first_line(error)} "
                f"({type(error).__name__}). Delete it to train this fold anew."
            ) from error
        if began_in != fit.precision and fit.world.leads:
            say(f"fold {fit.fold.name} began in {began_in} and goes on in {fit.precision}")
        return at
