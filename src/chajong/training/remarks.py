"""What a recipe does that whoever wrote it may not expect; said before anything is trained."""

from collections.abc import Iterator

from chajong.recipe import Recipe
from chajong.recipe_train import Constant, Cosine

_LEFT = 0.05  # of the first weights in an average that is ready


def remarks(recipe: Recipe, num_photos: int, is_all: bool) -> Iterator[str]:
    """Find what may surprise.

    Args:
        recipe: The recipe.
        num_photos: That a model learns from.
        is_all: Whether from all of them, so that none is held out.

    Yields:
        What it is and what to do, a line each.
    """
    train, schedule = recipe.train, recipe.schedule
    if is_all and train.chooses_by_score:
        yield (
            "train.keep and train.patience do nothing with --fold all, where no photos are held "
            f"out to choose by: all {train.epochs} epochs are trained. Where the folds stopped "
            "tells how many to ask for with train.epochs."
        )
    if isinstance(schedule, Constant | Cosine) and 0 < train.epochs <= schedule.warmup_epochs:
        yield (
            f"schedule.warmup_epochs is {schedule.warmup_epochs:g} of {train.epochs} epochs: the "
            "learning rate never arrives. Set it lower."
        )
    ema = train.ema if recipe.answers_by == "ema" else None
    num_updates = train.epochs * -(-num_photos // (train.batch_size * recipe.optim.accumulate))
    if ema is not None and not ema.warmup and (left := ema.decay**num_updates) > _LEFT:
        yield (
            f"train.ema: after {num_updates:,} updates {left:.0%} of the average are still the "
            "first weights, and it is what answers. Set train.ema.warmup=true, a smaller "
            "train.ema.decay, or infer.weights=raw."
        )
