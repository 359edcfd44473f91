"""Every error that a user can cause, as one tree.

    ChajongError                one message, exit code 2; anything else is a bug
    ├── DataError               photos, tables, labels and folds
    ├── RecipeError             recipes and their overrides
    ├── WeightsError            pretrained weights: missing, unfit, not licensed for the use
    ├── RunError                run folders: from other data, busy, damaged
    ├── TrainingError           training that cannot go on: a loss that is not finite
    ├── BundleError             bundles: touched, from a newer version, not proven
    ├── PredictionsError        predictions that cannot be scored or used
    ├── SubmissionError         submissions that the competition would refuse or punish
    ├── TrackerError            services that show runs: not installed, not to be reached
    └── ResourceError           disk, memory, permissions

A message says where, what it got, what is allowed and what to do next.
"""


class ChajongError(Exception):
    """Any error that a user can cause and put right."""


class DataError(ChajongError):
    """Photos, tables, labels or folds that cannot be used as they are."""


class RecipeError(ChajongError):
    """A recipe with unknown keys or values that are not allowed."""


class WeightsError(ChajongError):
    """Pretrained weights that are missing, unfit or not licensed for the use."""


class RunError(ChajongError):
    """A run folder that is damaged, busy or belongs to something else."""


class TrainingError(ChajongError):
    """Training that cannot go on."""


class BundleError(ChajongError):
    """A bundle that was touched, cannot be used here, or fails its proof."""


class PredictionsError(ChajongError):
    """Predictions that cannot be scored or used."""


class SubmissionError(ChajongError):
    """A submission that the competition would refuse or punish."""


class TrackerError(ChajongError):
    """A service that shows runs and is not installed or cannot be reached."""


class ResourceError(ChajongError):
    """A disk, memory or permission that is not there."""
