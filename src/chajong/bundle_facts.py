"""What a bundle says of itself: how it was made, what was proven of it, what must come out.

Shapes: n photos, c classes.
"""

from dataclasses import dataclass

from chajong.added import Added
from chajong.blending.blend import Blend
from chajong.choices import Precision, Runtime
from chajong.graph import Graph
from chajong.photos.preprocess import Preprocess


@dataclass(frozen=True)
class Proof:
    """How a way to compute compares with the trained models in torch, photo by photo.

    Attributes:
        runtime: What computed.
        precision: In which number format.
        num_photos: How many photos were compared, from files to answers.
        top1_agreement: Share of photos with the same likeliest class.
        max_prob_gap: The largest difference of any probability.
        num_labelled: How many of the photos have a known class.
        held_out: Whether the log losses are of networks that did not learn the photo.
        log_loss: Its log loss, in nats; none where no class is known.
        torch_log_loss: That of torch.
        gap_error: Standard error of the difference of the two, photos paired.
        photos_per_s: How many photos it answered a second where it was exported, decoding apart;
            none if that was not measured.
    """

    runtime: Runtime
    precision: Precision
    num_photos: int
    top1_agreement: float
    max_prob_gap: float
    num_labelled: int = 0
    held_out: bool = False
    log_loss: float | None = None
    torch_log_loss: float | None = None
    gap_error: float | None = None
    photos_per_s: float | None = None

    @property
    def log_loss_gap(self) -> float:
        """How much the log loss differs from torch's, with its sign; 0 where it is not known."""
        return (self.log_loss or 0.0) - (self.torch_log_loss or 0.0)

    def line(self) -> str:
        """Say it for a terminal.

        Returns:
            One line.
        """
        pace = "" if self.photos_per_s is None else f", {self.photos_per_s:,.0f} photos/s"
        said = (
            f"{self.runtime} {self.precision}{pace}: top-1 agrees on "
            f"{self.top1_agreement:.2%} of {self.num_photos:,} photos, probabilities "
            f"differ by at most {self.max_prob_gap:.1e}"
        )
        if self.log_loss is None or self.torch_log_loss is None:
            return f"{said}; no class is known, so no log loss"
        whose = "held-out" if self.held_out else "labelled"
        return (
            f"{said}, log loss {self.log_loss:.4f} against {self.torch_log_loss:.4f} "
            f"({self.log_loss_gap:+.1e} ± {self.gap_error or 0:.0e}) on {self.num_labelled:,} "
            f"{whose} photos"
        )


@dataclass(frozen=True)
class Facts:
    """What `bundle.json` holds.

    Attributes:
        format: Version of the bundle.
        made_by: The version of chajong that made it.
        created: When, ISO 8601.
        source: The name of the run's or blend's folder.
        blend: Members, views, weights and calibration; a run is a blend of one.
        graphs: That of each member.
        proofs: The ways to compute that may be used, the fastest first.
        risks: The file that tells how deep answers may go; none where nothing is known.
        added: Classes that were added later, without training.
    """

    format: int
    made_by: str
    created: str
    source: str
    blend: Blend
    graphs: tuple[Graph, ...]
    proofs: tuple[Proof, ...]
    risks: str | None = None
    added: tuple[Added, ...] = ()

    @property
    def preprocesses(self) -> tuple[Preprocess, ...]:
        """The ways in which members see photos, each once."""
        return tuple(dict.fromkeys(graph.preprocess for graph in self.graphs))


@dataclass(frozen=True)
class Golden:
    """Photos and what must come out.

    Attributes:
        photos: Names of files.
        log_probs: For each way to compute, such as `onnxruntime fp32`, (n, c).
    """

    photos: tuple[str, ...]
    log_probs: dict[str, list[list[float]]]
