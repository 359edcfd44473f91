"""From log-probabilities to verdicts: how deep each answer goes, and what it says.

Shapes: n photos, c classes, four levels, the deepest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chajong.bundle import Bundle
from chajong.catalogue import Car, Catalogue
from chajong.depths import DEEPEST_FIRST, NONE, Depths, Likeliest, Places
from chajong.errors import BundleError, PredictionsError
from chajong.gallery import STRANGE_FROM
from chajong.labels import Labels
from chajong.levels import Level
from chajong.risk import Risks, Thresholds
from chajong.serving.verdict import Guess, LevelName, Reason, Said, Verdict

DEFAULT_RISK = 0.02
"""The share of wrong answers that is allowed if nobody says another."""

_TOP = 5
_NAMES: tuple[LevelName, ...] = ("exact", "generation", "model", "maker", "none")


class _Facts(NamedTuple):
    # What is said of a group of classes at its level.
    exact: str | None = None
    make: str | None = None
    make_ko: str | None = None
    model: str | None = None
    generation: str | None = None
    year_from: int | None = None
    year_to: int | None = None


@dataclass(frozen=True, eq=False)
class Judge:
    """Decides what is said of photos.

    Attributes:
        depths: The levels of the classes.
        facts: For each level what is said of each of its groups.
        thresholds: From which probability on each level is said; none where nothing is known of
            the risk: the exact class is always said then.
    """

    depths: Depths
    facts: tuple[tuple[_Facts, ...], ...]
    thresholds: Thresholds | None

    @classmethod
    def of(cls, bundle: Bundle, risk: float | None = None) -> "Judge":
        """Make the judge of a bundle's answers; it costs too much to do it for each photo.

        Args:
            bundle: The bundle.
            risk: The share of wrong answers among those given, above 0 and below 1; `DEFAULT_RISK`
                if none.

        Returns:
            The judge.

        Raises:
            BundleError: If a risk is stated and the bundle has no held-out answers to judge by.
            DataError: If there is no such risk.
        """  # noqa: DOC503 DataError raised by `fitted`
        if bundle.risks is None and risk is not None:
            raise BundleError(
                f"{bundle.folder} cannot keep a risk: it was made of models that learned every "
                "photo, so nothing is known of how often they are wrong on others. Leave the risk "
                "out, or export a run of folds or a blend."
            )
        return cls.fitted(bundle.labels, bundle.catalogue, bundle.risks, risk)

    @classmethod
    def fitted(
        cls,
        labels: Labels,
        catalogue: Catalogue,
        risks: Risks | None,
        risk: float | None = None,
    ) -> "Judge":
        """Make a judge.

        Args:
            labels: The classes.
            catalogue: The car of each class.
            risks: How sure and how right held-out answers were; none if there are none.
            risk: As in `of`.

        Returns:
            The judge.

        Raises:
            DataError: If there is no such risk.
        """  # noqa: DOC502 raised by `Risks.thresholds`
        depths = Depths.of(catalogue, labels)
        own = [catalogue.of(name) for name in labels.names]
        facts = (_facts(place, depths, own) for place in range(NONE))
        wanted = DEFAULT_RISK if risk is None else risk
        return cls(depths, tuple(facts), None if risks is None else risks.thresholds(wanted))

    def verdicts(
        self, log_probs: NDArray[np.floating], strangeness: NDArray[np.floating] | None = None
    ) -> list[Verdict]:
        """Decide what is said of photos.

        Args:
            log_probs: (n, c) log-probabilities of photos that have an answer.
            strangeness: (n,) the share of known cars' photos that are less strange, in [0, 1];
                none where nobody can tell.

        Returns:
            n verdicts.

        Raises:
            PredictionsError: If shapes do not fit, or a number is not finite.
        """
        shape = (len(log_probs), len(self.depths.cars))
        if log_probs.shape != shape or not np.isfinite(log_probs).all():
            raise PredictionsError(
                f"A verdict needs {shape[1]} finite log-probabilities of each photo; got shape "
                f"{log_probs.shape}. Photos without an answer get no verdict."
            )
        with np.errstate(under="ignore"):
            probs = np.exp(log_probs.astype(np.float64))
        probs /= probs.sum(axis=1, keepdims=True)
        likeliest = self.depths.likeliest(probs)
        places = np.zeros(len(probs), np.intp)
        if self.thresholds is not None:
            places = self.thresholds.deepest(likeliest.sayable)
        strange = np.zeros(len(probs), np.bool_)
        if strangeness is not None:
            strange = strangeness >= STRANGE_FROM
        places[strange] = NONE
        exact = self.depths.sums(0, probs)
        best = np.argsort(-exact, axis=1, kind="stable")[:, :_TOP]
        return [
            self._verdict(
                likeliest,
                row,
                place,
                "strange" if strange[row] else "unsure" if place else "sure",
                None if strangeness is None else float(strangeness[row]),
                tuple(self._guess(k, float(exact[row, k])) for k in best[row].tolist()),
            )
            for row, place in enumerate(places.tolist())
        ]

    def _verdict(
        self,
        likeliest: Likeliest,
        row: int,
        place: int,
        reason: Reason,
        strangeness: float | None,
        top: tuple[Guess, ...],
    ) -> Verdict:
        groups, probs = likeliest.groups[row].tolist(), likeliest.probs[row].tolist()
        said = _Facts() if place == NONE else self.facts[place][groups[place]]
        return Verdict(
            level=_NAMES[place],
            score=probs[min(place, NONE - 1)],
            abstained=place == NONE,
            reason=reason,
            strangeness=strangeness,
            **said._asdict(),
            levels={
                name: Said(self.depths.levels[k].names[groups[k]], probs[k])
                for k, name in reversed(list(enumerate(DEEPEST_FIRST)))
                if likeliest.named[row, k]
            },
            top=top,
        )

    def _guess(self, group: int, prob: float) -> Guess:
        facts = self.facts[0][group]
        return Guess(str(facts.exact), *facts[1:], prob)


def _facts(place: int, depths: Depths, own: Sequence[Car]) -> tuple[_Facts, ...]:
    level = depths.levels[place]
    return tuple(
        _facts_of(place, depths.cars[int(members[0])], [own[member] for member in members])
        for members in _members(level)
    )


def _members(level: Level) -> list[Places]:
    return [np.flatnonzero(level.groups == group) for group in range(len(level.names))]


def _facts_of(place: int, car: Car, members: Sequence[Car]) -> _Facts:
    # Years hold for every member, or are not known; an open end is one for all.
    first = [one.year_from for one in members if one.year_from is not None]
    last = [one.year_to for one in members if one.year_to is not None]
    return _Facts(
        exact=car.name if place == 0 else None,
        make=car.maker,
        make_ko=car.maker_ko,
        model=car.model if place <= DEEPEST_FIRST.index("model") else None,
        generation=car.generation if place <= DEEPEST_FIRST.index("generation") else None,
        year_from=min(first) if len(first) == len(members) else None,
        year_to=max(last) if len(last) == len(members) else None,
    )
