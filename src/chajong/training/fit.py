"""The one training loop."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from chajong import metrics
from chajong.errors import TrainingError
from chajong.progress import Interrupted, Progress
from chajong.recipe import Recipe
from chajong.stop import Stop, asked_to_stop
from chajong.tracking.guard import Trackers
from chajong.training.augment import augment, normalise
from chajong.training.average import NUM_PHOTOS, TailMean, make_average, measure_norms
from chajong.training.checkpoint import Checkpoint
from chajong.training.draws import Draws
from chajong.training.failures import explained
from chajong.training.fold import Fold
from chajong.training.infer import Eye, infer_rows
from chajong.training.loader import Batches, Examples
from chajong.training.losses import make_loss
from chajong.training.mix import mix
from chajong.training.optim import (
    choose_what_learns,
    make_optimiser,
    set_learning_rate,
)
from chajong.training.precision import agreed_precision, autocast
from chajong.training.teacher import Teacher
from chajong.training.telling import Telling, effort_of, epoch_line
from chajong.training.world import World

CHECKPOINT = "checkpoint.pt"


class Fit:
    """Trains one network on one fold; goes on where an earlier process stopped.

    Args:
        recipe: How.
        fold: On what.
        network: With its first weights, on the CPU.
        mean: Of the photos the weights were trained on.
        std: Likewise.
        world: This process's place among those that train together.
        checkpoint_s: Seconds between two checkpoints within an epoch.
        trackers: Services that are told what is measured, if any.
        teacher: Networks that the network learns from too, if any.
    """

    def __init__(
        self,
        recipe: Recipe,
        fold: Fold,
        network: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        world: World,
        checkpoint_s: float = 60.0,
        trackers: Trackers | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        world.check_batch(recipe.train.batch_size)
        self.recipe, self.fold, self.world = recipe, fold, world
        self.checkpoint_s, self.trackers = checkpoint_s, trackers or Trackers()
        self.mean, self.std, self.teacher = mean, std, teacher
        self.precision = agreed_precision(recipe.train.precision, world)
        network = world.synchronise(network).to(world.device)
        self.network: nn.Module = network.to(memory_format=torch.channels_last)
        self.optimiser = make_optimiser(self.network, recipe.optim)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=self.precision == "fp16")
        self.batches = Batches(
            fold.train, recipe.train.batch_size, (recipe.train.seed, fold.number), world
        )
        num_updates = recipe.train.epochs * -(-self.batches.num_steps // recipe.optim.accumulate)
        self.average = make_average(self.network, recipe.train, num_updates)
        if recipe.train.compile:
            self.network.compile()
        counts = np.bincount(fold.train.targets, minlength=fold.num_classes)
        self.loss = make_loss(recipe.loss, torch.from_numpy(counts).to(world.device))
        self.at = Checkpoint()
        self._telling: Telling | None = None

    @property
    def num_steps_done(self) -> int:
        """Steps of all epochs so far."""
        return self.at.epoch * self.batches.num_steps + self.at.step

    @property
    def checkpoint_path(self) -> Path:
        """The file that holds where an unfinished training stands."""
        return self.fold.folder / CHECKPOINT

    @property
    def head_only_epochs(self) -> int:
        """Epochs at the start in which only the head learns."""
        share, epochs = self.recipe.train.head_only, self.recipe.train.epochs
        # At least one where they are asked for, and one is left for the whole network.
        return min(max(round(share * epochs), 1), epochs - 1) if share else 0

    def run(self) -> list[dict[str, Any]]:
        """Train to the end.

        Returns:
            What was measured, an entry an epoch.

        Raises:
            Interrupted: If the user stopped it, after a checkpoint was written.
            TrainingError: If the loss is not finite, or the network cannot be compiled.
            ResourceError: If there is too little memory.
        """  # noqa: DOC502 raised by _epoch and `explained`
        self.at = Checkpoint.restore(self.checkpoint_path, self)
        epochs, total = self.recipe.train.epochs, self.recipe.train.epochs * self.batches.num_steps
        done = self.num_steps_done * self.batches.rows
        effort = effort_of(self.recipe, self.batches.num_steps * self.batches.rows)
        if self.world.leads:
            self._telling = Telling(
                self.fold.folder,
                self.trackers,
                epochs,
                self.batches.num_steps,
                self.batches.rows,
                self.num_steps_done,
                effort,
            )
            self._telling.epochs(self.at.history)
        title = f"fold {self.fold.name}"
        photos, quiet = total * self.batches.rows, not self.world.leads
        with (
            explained(self.recipe.train),
            asked_to_stop() as stop,
            self._telling or nullcontext(),
            Progress(title, photos, quiet=quiet, effort=effort) as progress,
        ):
            progress.skip(done)
            while self.at.epoch < epochs and not self.at.stopped_early:
                self._epoch(progress, stop)
                self._heed(stop)
        if self.recipe.train.keep == "best" and self.at.best is not None:
            self.load_states(self.at.best)
        return self.at.history

    def eye(self, averaged: bool) -> Eye:
        """Give the network as an evaluator.

        Args:
            averaged: Whether with the average of the weights, where the recipe has one.

        Returns:
            The evaluator.
        """
        average = self.average if averaged else None
        network = average.module if average is not None else self.network
        temperature = self.recipe.infer.temperature
        device = self.world.device
        return Eye(network, device, self.precision, self.mean, self.std, temperature)

    def states(self) -> dict[str, dict[str, Tensor]]:
        """Give the weights: raw, and averaged where the recipe has an average.

        Returns:
            State dictionaries by `raw` and `ema`.
        """
        states = {"raw": self.network.state_dict()}
        if self.average is not None:
            states["ema"] = self.average.module.state_dict()
        return states

    def load_states(self, states: dict[str, dict[str, Tensor]]) -> None:
        self.network.load_state_dict(states["raw"])
        if self.average is not None:
            self.average.module.load_state_dict(states["ema"])

    def _epoch(self, progress: Progress, stop: Stop) -> None:
        epoch, recipe = self.at.epoch, self.recipe
        head_only = epoch < self.head_only_epochs
        choose_what_learns(self.network, head_only, recipe.model.frozen_stages)
        model = self.world.wrap(self.network)
        size_px = recipe.data.training_px(epoch / recipe.train.epochs)
        feed = self.batches.epoch(epoch, self.at.step)
        saved = time.perf_counter()
        begin = saved - self.at.seconds
        seen = ((batch[0], *self.see(*batch, size_px)) for batch in feed)
        following = next(seen, None)
        while following is not None:
            step, x, soft = following
            self._set_rate(step)
            share = self.learn(model, step, x, soft)
            # A GPU is still at it: what it learns from next is ready when it is through.
            following = next(seen, None)
            loss = self._take(step, share)
            self.at.loss_sum += loss
            self.at.step = step + 1
            self.at.seconds = time.perf_counter() - begin
            progress.advance(self.batches.rows, f"epoch {epoch + 1}, loss {loss:.3f}")
            if self._telling is not None:
                lr = self.optimiser.param_groups[-1]["lr"]
                self._telling.step(self.num_steps_done, loss, lr, self.at.history)
            self._heed(stop)
            if time.perf_counter() - saved > self.checkpoint_s:
                self._save()
                saved = time.perf_counter()
        took = max(self.at.seconds, 1e-9)
        entry: dict[str, Any] = {
            "epoch": epoch + 1,
            "size_px": size_px,
            "lr": self.optimiser.param_groups[-1]["lr"],
            "loss": self.at.loss_sum / self.batches.num_steps,
            "photos_per_s": self.batches.num_steps * self.batches.rows / took,
            "waiting_share": feed.waited_s / took,
            "seconds": took,
        }
        self._settle(size_px)
        self._finish_epoch({**entry, **self._validate()}, progress)

    def _settle(self, size_px: int) -> None:
        # The mean of weights has batch norms of its own, on the batches that the epoch began with.
        average = self.average
        if not isinstance(average, TailMean) or self.at.updates <= average.after:
            return
        feed = islice(self.batches.epoch(self.at.epoch), -(-NUM_PHOTOS // self.batches.rows))
        seen = (self.see(*batch, size_px)[0] for batch in feed)
        precision = autocast(self.world.device, self.precision)
        measure_norms(average.module, self.network, seen, precision)

    def _finish_epoch(self, entry: dict[str, Any], progress: Progress) -> None:
        self.at.history.append(entry)
        if self._telling is not None:
            self._telling.epochs([entry])
        self.at.epoch, self.at.step = self.at.epoch + 1, 0
        self.at.loss_sum = self.at.seconds = 0.0
        value = entry.get("log_loss")
        if value is not None and value < self.at.best_value:
            self.at.best_value, self.at.best_epoch = value, entry["epoch"]
            if self.recipe.train.keep == "best":
                self.at.best = {
                    kind: {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
                    for kind, state in self.states().items()
                }
        # Patience starts with the whole network: the head alone, or a young average, prove little.
        since = max(self.at.best_epoch, self.head_only_epochs)
        patience = self.recipe.train.patience
        if patience is not None and value is not None:
            self.at.stopped_early = entry["epoch"] - since >= patience
        progress.note(epoch_line(self.fold.name, entry, self.recipe.train.epochs))
        self._save()

    def _set_rate(self, step: int) -> None:
        recipe = self.recipe
        when = self.at.epoch + step / self.batches.num_steps
        set_learning_rate(self.optimiser, recipe.optim, recipe.schedule, when, recipe.train.epochs)

    def _take(self, step: int, share: Tensor) -> float:
        value = self.world.mean(share)
        if not np.isfinite(value):
            lr = self.optimiser.param_groups[-1]["lr"]
            raise TrainingError(
                f"The loss of fold {self.fold.name} became {value} in epoch {self.at.epoch + 1}, "
                f"step {step + 1}, at learning rate {lr:.2g}. The step was not taken. Lower "
                "optim.lr, set optim.clip_norm=1, or use train.precision=fp32; then train anew."
            )
        if self._ends_group(step):
            self.update()
        return value

    def see(
        self, step: int, photos: Tensor, targets: Tensor, size_px: int
    ) -> tuple[Tensor, Tensor]:
        """Turn cached photos into what the network learns from: augmented, mixed, normalised.

        Args:
            step: Number within the epoch.
            photos: uint8 `(n, s, s, 3)`.
            targets: Classes `(n,)`, or probabilities `(n, c)`.
            size_px: Side h of a training photo.

        Returns:
            Photos `(n, 3, h, h)` and target probabilities `(n, c)`.
        """
        recipe, at, rows = self.recipe, self.at, self.batches.rows
        key = (recipe.train.seed, self.fold.number, at.epoch, step)
        draws = Draws(key, rows, self.world.share(rows), self.world.device)
        x = normalise(augment(photos, recipe.augment, size_px, draws), self.mean, self.std)
        whole = functional.one_hot(targets, self.fold.num_classes) if targets.ndim == 1 else targets
        soft = whole.float()
        if at.epoch < recipe.mix.until * recipe.train.epochs:
            x, soft = mix(x, soft, recipe.mix, draws)
        return x.contiguous(memory_format=torch.channels_last), soft

    def learn(self, model: nn.Module, step: int, x: Tensor, soft: Tensor) -> Tensor:
        """Compute the loss of a batch and add its gradients.

        Args:
            model: The network, wrapped where several processes train.
            step: Number within the epoch.
            x: Photos `(n, 3, h, h)`.
            soft: Target probabilities `(n, c)`.

        Returns:
            This process's loss, a scalar that a GPU may still be computing.
        """
        # The network's own chance (dropout) must not depend on what was drawn before.
        key = (self.recipe.train.seed, self.fold.number, self.at.epoch, step, self.world.rank)
        torch.manual_seed(int(np.random.default_rng(key).integers(2**31)))
        accumulate, num_steps = self.recipe.optim.accumulate, self.batches.num_steps
        # A group at the end of an epoch may be shorter; it is a mean all the same.
        group = min(accumulate, num_steps - step // accumulate * accumulate)
        if self.teacher is not None:
            soft = self.teacher.teach(x, soft)
        with autocast(self.world.device, self.precision):
            logits = model(x)
        loss = self.loss(logits, soft)
        scaled: Any = self.scaler.scale(loss / group)
        scaled.backward()
        return loss.detach()

    def _ends_group(self, step: int) -> bool:
        return (step + 1) % self.recipe.optim.accumulate == 0 or step + 1 == self.batches.num_steps

    def update(self) -> None:
        """Change the weights by the gradients that have come together."""
        clip_norm = self.recipe.optim.clip_norm
        if clip_norm is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()
        self.at.updates += 1
        if self.average is not None:
            self.average.update(self.network, self.at.updates)

    def _validate(self) -> dict[str, float]:
        if self.fold.validation is None:
            return {}
        found: dict[str, float] = {}
        for kind in self.states():
            log_probs = self.look(self.fold.validation, ("plain",), averaged=kind == "ema")
            if not np.isfinite(log_probs).all():
                raise TrainingError(
                    f"The network of fold {self.fold.name} answers with numbers that are not "
                    f"finite after epoch {self.at.epoch + 1}. Lower optim.lr, set "
                    "optim.clip_norm=1, or use train.precision=fp32; then train anew."
                )
            probs = np.exp(log_probs[:, 0].astype(np.float64))
            truth = self.fold.validation.targets
            outcomes = metrics.outcomes(probs, truth, self.fold.canonical)
            found[f"log_loss_{kind}"] = float(outcomes.losses.mean())
            found[f"top1_{kind}"] = float((outcomes.top == outcomes.truth).mean())
        used = self.recipe.answers_by
        return {"log_loss": found[f"log_loss_{used}"], "top1": found[f"top1_{used}"], **found}

    def _goes_on(self) -> None:
        if self._telling is not None:
            self._telling.goes_on()

    def look(self, photos: Examples, views: Sequence[str], averaged: bool) -> NDArray[np.float32]:
        """Look at cached photos with the weights as they are.

        Args:
            photos: Which photos, n of them.
            views: Names of the views, v of them.
            averaged: Whether with the average of the weights, where the recipe has one.

        Returns:
            Log-probabilities `(n, v, c)`, on every process.
        """
        # Each process looks at every size-th photo; every photo is looked at once.
        mine = slice(self.world.rank, None, self.world.size)
        eye, rows = self.eye(averaged), photos.rows[mine]
        part = infer_rows(eye, photos.pixels, rows, views, each=self._goes_on)
        whole = np.empty((len(photos), len(views), self.fold.num_classes), np.float32)
        for rank, rows in enumerate(self.world.gather(part)):
            if len(rows):
                whole[rank :: self.world.size] = rows
        return whole

    def _heed(self, stop: Stop) -> None:
        if self.world.any(stop.asked):
            self._save()
            raise Interrupted(
                f"stopped in fold {self.fold.name} after {self.at.epoch} of "
                f"{self.recipe.train.epochs} epochs and {self.at.step} steps; nothing is lost. "
                "The same command goes on from here."
            )

    def _save(self) -> None:
        if self.world.leads:
            self.at.save(self.checkpoint_path, self)
