"""What a network learns, how and for how long, as parts of a recipe."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from chajong.recipe_part import (
    Count,
    Fraction,
    NotNegative,
    Part,
    PartFraction,
    Positive,
    Real,
    Share,
    Whole,
)


class Mix(Part):
    """Photos blended in pairs: mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019).

    An alpha of 0 turns one off; with both on, each batch takes one of them at random.
    """

    mixup: NotNegative = Field(0.0, description="alpha of the beta distribution")
    cutmix: NotNegative = Field(0.0, description="alpha of the beta distribution")
    p: Fraction = Field(1.0, description="share of the batches that are mixed")
    until: Fraction = Field(1.0, description="share of the epochs after which it stops")


class CrossEntropy(Part):
    """Cross-entropy, with labels smoothed if asked for."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    smoothing: PartFraction = 0.0


class Focal(Part):
    """Focal loss (Lin et al., 2017), for hard and soft targets."""

    kind: Literal["focal"] = "focal"
    gamma: NotNegative = 2.0
    alpha: Literal["inverse_frequency"] | None = None


class Poly(Part):
    """Poly-1 loss (Leng et al., 2022): cross-entropy and epsilon times the missed probability."""

    kind: Literal["poly"] = "poly"
    epsilon: Annotated[Real, Field(ge=-1)] = 1.0
    smoothing: PartFraction = 0.0


Loss = Annotated[CrossEntropy | Focal | Poly, Field(discriminator="kind")]


class Taxonomy(Part):
    """Shares of each target that go to its relatives, by the catalogue.

    A share is spread evenly over the other classes of the same generation, model or maker; where
    there are none, or nothing is known, it stays with the class itself.
    """

    generation: PartFraction = 0.0
    model: PartFraction = 0.0
    maker: PartFraction = 0.0

    @field_validator("maker")
    @classmethod
    def _leaves_something(cls, maker: float, others: ValidationInfo) -> float:
        if maker + sum(others.data.get(name, 0.0) for name in ("generation", "model")) >= 1:
            raise ValueError("must leave generation + model + maker below 1")
        return maker


class Distil(Part):
    """Learning what a teacher says of the training photos (Hinton et al., 2015).

    Without `online` the teacher's out-of-fold table is taken; with it, its networks see the same
    augmented and mixed photos (Beyer et al., 2022), which costs their time at each step.
    """

    alpha: Share = Field(0.7, description="the teacher's share of the target")
    temperature: Positive = Field(1.0, description="divides the teacher's logits")
    online: bool = False


class AdamW(Part):
    """AdamW (Loshchilov and Hutter, 2019)."""

    kind: Literal["adamw"] = "adamw"
    lr: Positive = 1e-4
    weight_decay: NotNegative = 0.05
    layer_decay: Share = Field(
        1.0, description="factor on the rate from each stage to the one before it"
    )
    clip_norm: Positive | None = None
    accumulate: Annotated[Whole, Field(ge=1)] = Field(1, description="batches a step")


class Constant(Part):
    """One learning rate throughout, after a linear warm-up."""

    kind: Literal["constant"] = "constant"
    warmup_epochs: NotNegative = 0.0


class Cosine(Part):
    """Half a cosine down to a last share of the rate, after a linear warm-up."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: NotNegative = 0.0
    final: Fraction = 0.0


class OneCycle(Part):
    """Up along half a cosine and down along another (Smith and Topin, 2018)."""

    kind: Literal["one_cycle"] = "one_cycle"
    peak_at: Annotated[Real, Field(gt=0, lt=1)] = 0.3
    start: Fraction = 0.04
    final: Fraction = 0.0


Schedule = Annotated[Constant | Cosine | OneCycle, Field(discriminator="kind")]


class Ema(Part):
    """A moving average of the weights, updated after each step."""

    decay: Annotated[Real, Field(gt=0, lt=1)] = 0.999
    warmup: bool = Field(False, description="start with a short memory that grows to 'decay'")


class Swa(Part):
    """The plain mean of the weights after each step of the last epochs (Izmailov et al., 2018).

    Batch norms are measured anew for it.
    """

    last: Share = Field(0.25, description="share of the epochs, at the end, that it is taken over")


class Train(Part):
    """How long, how fast and how exactly to train."""

    epochs: Annotated[Whole, Field(ge=1)] = 100
    batch_size: Annotated[Whole, Field(ge=2)] = 64
    head_only: PartFraction = Field(
        0.0, description="share of the epochs, at the start, in which only the head learns"
    )
    patience: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="epochs without a better validation log loss before it stops"
    )
    keep: Literal["best", "last"] = Field(
        "last", description="the epoch whose weights stay; best is chosen by the held-out photos"
    )
    ema: Ema | None = None
    swa: Swa | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = Field(False, description="torch.compile: minutes at first, faster after that")
    seed: Count = 42

    @field_validator("swa")
    @classmethod
    def _averages_in_one_way(cls, swa: Swa | None, others: ValidationInfo) -> Swa | None:
        if swa is not None and others.data.get("ema") is not None:
            raise ValueError("must be none where train.ema is set: there is one average")
        return swa

    @property
    def averages(self) -> bool:
        """Whether averaged weights are kept beside the raw ones."""
        return self.ema is not None or self.swa is not None

    @property
    def chooses_by_score(self) -> bool:
        """Whether held-out photos say when to stop, so that their score flatters."""
        return self.keep == "best" or self.patience is not None
