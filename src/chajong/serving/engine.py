"""The engine: from a photo's bytes to log-probabilities, by a bundle, without torch.

Shapes: n photos, k networks, v views, c classes, l learned classes, d features.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from chajong.bundle import Bundle
from chajong.bundle_facts import Proof
from chajong.choices import Precision, Runtime
from chajong.environment import num_cores
from chajong.errors import BundleError
from chajong.gallery import unit
from chajong.graph import WHOLE, Output
from chajong.photos.preprocess import Preprocess, Squares
from chajong.pooling import Floats
from chajong.progress import say
from chajong.serving.newcomers import Newcomers
from chajong.serving.runtimes import Session, has, open_session
from chajong.wording import first_line

# How far golden answers may be off: other processors round otherwise, and coarse formats more so.
# 8-bit sums are the same everywhere, but where they saturate: there golden photos were 0.1 off.
_GOLDEN_GAP = {"fp32": 1e-3, "bf16": 0.05, "int8": 0.02}
# Of 255: what resizes photos is not the same program everywhere, and rounds otherwise.
_GOLDEN_LEVELS = 2

_MEASURE_S = 0.5

_SEEN: tuple[Output, ...] = ("log_probs", "embeddings")


@dataclass(frozen=True, eq=False)
class Looked:
    """What is answered of n photos, and what was seen in them.

    Attributes:
        log_probs: (n, c) normalised.
        embeddings: (n, d) of length 1, to be compared with those of the bundle's gallery; none
            where it has no gallery.
        strangeness: (n,) how unlike all that was learned: the share of held-out photos of known
            cars that are less strange, in [0, 1]; none where the bundle cannot tell.
    """

    log_probs: Floats
    embeddings: Floats | None
    strangeness: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Engine:
    """A bundle that is ready to answer.

    Attributes:
        bundle: The bundle.
        proof: What computes, and how well.
        sessions: That of each member.
        num_callers: How many threads may call it at once without waiting for each other.
    """

    bundle: Bundle
    proof: Proof
    sessions: tuple[Session, ...]
    num_callers: int
    _preprocesses: tuple[Preprocess, ...] = field(init=False)
    _newcomers: Newcomers | None = field(init=False)

    def __post_init__(self) -> None:
        """Find out how photos are to be prepared, and read what tells added classes."""
        # At once: later another bundle may lie in this one's place.
        newcomers = Newcomers.of(self.bundle) if self.bundle.facts.added else None
        object.__setattr__(self, "_newcomers", newcomers)
        object.__setattr__(self, "_preprocesses", self.bundle.facts.preprocesses)

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        runtime: Runtime | None = None,
        precision: Precision | None = None,
        num_callers: int | None = None,
    ) -> "Engine":
        """Get a bundle ready, and check that it answers here as it did where it was made.

        Of the ways that are left open it takes the fastest that does; one that does not, as 8-bit
        numbers on a processor that adds them otherwise, is said and passed over.

        Args:
            bundle: The bundle.
            runtime: What computes; if none, the fastest that was proven and is installed here.
            precision: In which number format; if none, the fastest that was proven.
            num_callers: How many threads will call at once; one for each core, if none.

        Returns:
            The engine.

        Raises:
            BundleError: If that way to compute was not proven, is not possible here, or a golden
                answer differs, or another bundle took its place meanwhile.
        """  # noqa: DOC502 raised by what it calls
        engine = _checked(bundle, _ways(bundle, runtime, precision), num_callers or num_cores())
        _ = bundle.gallery  # read before another bundle may take the place of this one
        bundle.check_unchanged()
        return engine

    def prepare(self, data: bytes) -> Squares:
        """Turn a photo into what the graphs take.

        Args:
            data: The whole file.

        Returns:
            A square for each way in which members see photos.

        Raises:
            Unreadable: If it cannot be opened.
        """  # noqa: DOC502 raised by `decode`
        return tuple(way(data) for way in self._preprocesses)

    def answer(self, squares: Sequence[Squares]) -> Floats:
        """Answer.

        Args:
            squares: What `prepare` made of n photos, at least one.

        Returns:
            (n, c) log-probabilities, normalised.
        """
        if self.bundle.facts.added:
            return self.look(squares).log_probs
        return self.join(self.ask(squares))

    def look(self, squares: Sequence[Squares]) -> Looked:
        """Answer, and tell what was seen.

        Args:
            squares: What `prepare` made of n photos, at least one.

        Returns:
            The answers, embeddings and strangeness.
        """
        gallery = self.bundle.gallery
        if gallery is None:
            return Looked(self.join(self.ask(squares)), None, None)
        pixels = self._stacked(squares)
        first, seen = self._compute(0, pixels, _SEEN)
        rest = [self._compute(place, pixels)[0] for place in range(1, len(self.sessions))]
        log_probs = self.join([first, *rest])
        embeddings = unit(seen[:, 0])
        strangeness = gallery.strangeness(embeddings, log_probs)
        if self._newcomers is not None:
            log_probs, strangeness = self._newcomers.join(log_probs, embeddings, strangeness)
        return Looked(log_probs, embeddings, strangeness)

    def heat(self, squares: Squares) -> Floats | None:
        """Ask what each place of a photo says.

        Args:
            squares: What `prepare` made of the photo.

        Returns:
            (l, h, w) logits of the first member, the mean of its networks; none where they do not
            end in a mean over places, or no view is one of the whole photo.
        """
        graph = self.bundle.facts.graphs[0]
        if "heat" not in graph.outputs or graph.seen not in WHOLE:
            return None
        (heat,) = self._compute(0, self._stacked([squares]), ("heat",))
        mean: Floats = heat[0].mean(axis=0)
        return mean[:, :, ::-1] if "flip" in graph.seen else mean

    def ask(self, squares: Sequence[Squares]) -> list[Floats]:
        """Ask every network through every view.

        Args:
            squares: What `prepare` made of n photos, at least one.

        Returns:
            For each member (n, k, v, c) log-probabilities.
        """
        pixels = self._stacked(squares)
        return [self._compute(place, pixels)[0] for place in range(len(self.sessions))]

    def join(self, said: Sequence[Floats]) -> Floats:
        """Join what the networks say to one answer.

        Args:
            said: For each member (n, k, v, c).

        Returns:
            (n, l) log-probabilities, normalised, of the classes that were learned.
        """
        blend = self.bundle.facts.blend
        return blend.answer_of_networks(said)

    def check_golden(self) -> None:
        """Answer the golden photos.

        Raises:
            BundleError: If an answer, or a prepared photo, is not what it was where the bundle was
                made.
        """
        golden = self.bundle.golden
        key = f"{self.proof.runtime} {self.proof.precision}"
        if not golden.photos or key not in golden.log_probs:
            raise BundleError(f"{self.bundle.folder} has no golden answers of {key}. Export again.")
        read = (self.bundle.folder / "golden" / name for name in golden.photos)
        squares = [self.prepare(path.read_bytes()) for path in read]
        if kept := self.bundle.golden_squares():
            levels = max(
                int(np.abs(own.astype(np.int16) - theirs).max())
                for own, theirs in zip(chain(*squares), chain(*kept), strict=True)
            )
            if levels > _GOLDEN_LEVELS:
                raise BundleError(
                    f"{self.bundle.folder} prepares photos otherwise here than where it was made: "
                    f"a pixel of a golden photo differs by {levels} of 255, and at most "
                    f"{_GOLDEN_LEVELS} is allowed. Bring chajong and its packages to the same "
                    "versions on both machines, or export again on this one."
                )
        try:
            found = np.exp(self.join(self.ask(kept or squares)))
        except Exception as error:  # runtimes fail in ways of their own
            raise BundleError(f"{self.bundle.folder}: {key}: {first_line(error)}") from error
        gap = float(np.abs(found - np.exp(np.array(golden.log_probs[key]))).max())
        if not gap <= _GOLDEN_GAP[self.proof.precision]:
            raise BundleError(
                f"{self.bundle.folder} answers otherwise here than where it was made: with {key} a "
                f"probability of a golden photo differs by {gap:.2g}, and at most "
                f"{_GOLDEN_GAP[self.proof.precision]} is allowed. To use {key}, export again on "
                "this machine; or leave it to chajong to choose another way."
            )

    def _stacked(self, squares: Sequence[Squares]) -> dict[Preprocess, NDArray[np.uint8]]:
        return {
            way: np.stack([each[place] for each in squares])
            for place, way in enumerate(self._preprocesses)
        }

    def _compute(
        self,
        member: int,
        pixels: dict[Preprocess, NDArray[np.uint8]],
        outputs: Sequence[Output] = ("log_probs",),
    ) -> list[Floats]:
        way = self.bundle.facts.graphs[member].preprocess
        return self.sessions[member].compute(pixels[way], outputs)


def _ways(bundle: Bundle, runtime: Runtime | None, precision: Precision | None) -> list[Proof]:
    # The fastest first.
    if runtime is not None and precision is not None:
        return [bundle.proof(runtime, precision)]
    ways = [
        proof
        for proof in bundle.facts.proofs
        if runtime in (None, proof.runtime)
        and precision in (None, proof.precision)
        and has(proof.runtime, proof.precision)
    ]
    # Says what was proven, or what is not installed, when it is opened.
    return ways or [bundle.proof(runtime or "onnxruntime", precision or "fp32")]


def _checked(bundle: Bundle, ways: Sequence[Proof], num_callers: int) -> Engine:
    proof, *others = ways
    try:
        engine = open_unchecked(bundle, proof, num_callers)
        engine.check_golden()
    except BundleError as error:
        if not others:
            raise
        say(f"{proof.runtime} {proof.precision} is not used: {error}")
        return _checked(bundle, others, num_callers)
    return engine


def open_unchecked(bundle: Bundle, proof: Proof, num_callers: int) -> Engine:
    """Open an engine without asking for golden answers.

    Args:
        bundle: The bundle.
        proof: What is to compute, whatever is known of it.
        num_callers: How many threads will call at once.

    Returns:
        The engine.
    """
    sessions = [
        open_session(
            bundle.graph_file(graph, proof.precision),
            proof.runtime,
            proof.precision,
            num_callers,
            graph.outputs,
        )
        for graph in bundle.facts.graphs
    ]
    return Engine(bundle, proof, tuple(sessions), num_callers)


def photos_per_second(engine: Engine, squares: Sequence[Squares]) -> float:
    """Measure how fast an engine answers when all its callers are busy.

    Args:
        engine: The engine.
        squares: What `prepare` made of some photos, as many as are answered at once.

    Returns:
        Photos a second, decoding apart.
    """
    num_rounds = 2 * engine.num_callers
    with ThreadPoolExecutor(engine.num_callers) as threads:
        list(threads.map(engine.ask, [squares] * engine.num_callers))  # warm
        num, start = 0, time.perf_counter()
        while (took := time.perf_counter() - start) < _MEASURE_S:
            list(threads.map(engine.ask, [squares] * num_rounds))
            num += num_rounds * len(squares)
    return num / took


def products_alone() -> AbstractContextManager[object]:
    """Let each caller of engines compute its matrix products by itself while the block runs.

    numpy else shares each out among all cores, one caller after the other, and its idle threads
    spin: callers that compare photos with the gallery wait for each other.

    Returns:
        A context; it holds for the whole process.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
