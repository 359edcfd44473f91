"""The bundle that answers now, and taking a new one without a break.

A new bundle is opened, checked and warm before it is switched to; what was asked before is still
answered by the old one. A bad bundle is refused, and the old one goes on.
"""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chajong.bundle import Bundle
from chajong.gallery import PICTURES
from chajong.serving.engine import Engine
from chajong.serving.service.answering import Answerer
from chajong.serving.service.batcher import Batcher
from chajong.serving.service.metrics import Metrics
from chajong.serving.service.schemas import Refused, example
from chajong.serving.service.settings import Settings

_log = logging.getLogger(__name__)

Traces = tuple[tuple[str, int, int, int], ...]
"""Name, size, time and number of each file of a bundle: they tell when it may be another."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A bundle that answers.

    Attributes:
        answerer: Who answers.
        batcher: Its threads.
        facts: What is told of it.
        example: One of its answers.
    """

    answerer: Answerer
    batcher: Batcher
    facts: dict[str, Any]
    example: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Name the bundle by its content."""
        return self.answerer.engine.bundle.fingerprint


class Keeper:
    """Keeps the bundle that answers.

    Args:
        settings: How it is served.
        metrics: What is told.

    Attributes:
        ready: The bundle that answers now.
        refused: The last new bundle, if it was not taken.
        is_stopping: Whether the service is about to end.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._tried = traces(settings.folder)
        self._woken = asyncio.Event()
        self.refused: Refused | None = None
        self.is_stopping = False
        self.ready = self._open()
        self._tell()

    def wake(self) -> None:
        """Look for a new bundle now."""
        self._woken.set()

    async def watch(self) -> None:
        """Take new bundles as they come, until cancelled."""
        before = self._tried
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._settings.poll_s)
            is_asked = self._woken.is_set()
            self._woken.clear()
            now = await asyncio.to_thread(traces, self._settings.folder)
            # Twice the same: nobody is copying files any more.
            if is_asked or (now and now != self._tried and now == before):
                self._tried = now
                await self._renew()
            before = now

    def close(self) -> None:
        """Answer what was taken, then end."""
        self.ready.batcher.close()

    async def _renew(self) -> None:
        old = self.ready
        try:
            new = await asyncio.to_thread(self._open, old.fingerprint)
        except Exception as error:  # whatever is wrong with it, the old one goes on
            self.refused = Refused(_now(), str(error))
            self._metrics.reloads.labels("refused").inc()
            _log.warning("a new bundle is refused, %s goes on: %s", old.fingerprint, error)
            return
        self.refused = None
        if new is None:
            _log.info("the bundle is still %s", old.fingerprint)
            return
        self.ready = new  # all that is asked from here on goes to it
        self._tell()
        self._metrics.reloads.labels("taken").inc()
        _log.info("bundle %s took the place of %s", new.fingerprint, old.fingerprint)
        await asyncio.to_thread(old.batcher.close)

    def _tell(self) -> None:
        engine = self.ready.answerer.engine
        source, proof = engine.bundle.facts.source, engine.proof
        self._metrics.tell_bundle(self.ready.fingerprint, source, proof.runtime, proof.precision)

    def _open(self, unlike: str | None = None) -> Any:
        settings = self._settings
        bundle = Bundle.load(settings.folder)
        if bundle.fingerprint == unlike:
            return None
        engine = Engine.open(bundle, settings.runtime, settings.precision)
        answerer = Answerer.of(engine, settings.risk)
        facts, shown = _facts(answerer, settings), example(answerer)
        bundle.check_unchanged()  # the card and the example were read from it, too
        return Ready(answerer, Batcher(answerer, settings.limits, self._metrics), facts, shown)


def traces(folder: Path) -> Traces:
    """Look at the files of a bundle without reading them.

    Not at the small pictures, of which there may be ten thousand, but at when their folder changed.

    Args:
        folder: Where it lies, or will.

    Returns:
        What tells whether they changed; nothing where there is no bundle.
    """
    found = []
    with suppress(OSError):  # it is being replaced at this moment
        if Bundle.is_in(folder):
            for path in sorted(_but_pictures(folder)):
                about = path.stat()
                name = path.relative_to(folder).as_posix()
                found.append((name, about.st_size, about.st_mtime_ns, about.st_ino))
            return tuple(found)
    return ()


def _but_pictures(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        yield path
        if path.is_dir() and path.name != PICTURES:
            yield from _but_pictures(path)


def _facts(answerer: Answerer, settings: Settings) -> dict[str, Any]:
    engine, limits = answerer.engine, settings.limits
    bundle = engine.bundle
    facts: dict[str, Any] = {
        "bundle": bundle.fingerprint,
        "source": bundle.facts.source,
        "created": bundle.facts.created,
        "made_by": bundle.facts.made_by,
        "num_classes": len(bundle.labels.names),
        "classes": bundle.labels.names,
        "runtime": engine.proof.runtime,
        "precision": engine.proof.precision,
        "risk": answerer.risk,
        "proof": asdict(engine.proof),
        "card": bundle.card(),
        "limits": {
            "max_bytes": limits.max_bytes,
            "max_body_bytes": limits.max_body_bytes,
            "max_megapixels": limits.max_megapixels,
            "max_frames": limits.max_frames,
            "max_photos": limits.max_photos,
            "formats": limits.formats,
            "deadline_s": limits.deadline_s,
        },
        "can": asdict(answerer.can),
        "loaded": _now(),
    }
    json.dumps(facts, allow_nan=False)  # or no client could read it
    return facts


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
