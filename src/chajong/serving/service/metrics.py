"""What Prometheus is told."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "chajong_requests",
            "Requests by route and HTTP status.",
            ("route", "status"),
            registry=self._registry,
        )
        self.request_seconds = self._histogram(
            "chajong_request_seconds", "From the head of a request to its answer.", ("route",)
        )
        self.photos = Counter(
            "chajong_photos",
            "Photos by what became of them: answered, abstained, or the kind of problem.",
            ("outcome",),
            registry=self._registry,
        )
        self.verdicts = Counter(
            "chajong_verdicts",
            "Answered photos by the level that was sure.",
            ("level",),
            registry=self._registry,
        )
        self.queue = Gauge(
            "chajong_queue_photos",
            "Photos that are accepted and not answered yet.",
            registry=self._registry,
        )
        self.batch = Histogram(
            "chajong_batch_photos",
            "Photos that the networks saw at once.",
            buckets=(1, 2, 3, 4, 6, 8),
            registry=self._registry,
        )
        self.decode_seconds = self._histogram(
            "chajong_decode_seconds", "From a file to pixels, a photo."
        )
        self.queue_seconds = self._histogram(
            "chajong_queue_seconds", "Waiting for a decoder and for the networks, a photo."
        )
        self.inference_seconds = self._histogram(
            "chajong_inference_seconds", "From pixels to answers, a batch."
        )
        self.reloads = Counter(
            "chajong_reloads",
            "New bundles: taken or refused.",
            ("outcome",),
            registry=self._registry,
        )
        self._bundle = Gauge(
            "chajong_bundle_info",
            "The bundle that answers.",
            ("fingerprint", "source", "runtime", "precision"),
            registry=self._registry,
        )

    def tell_bundle(self, fingerprint: str, source: str, runtime: str, precision: str) -> None:
        """Say which bundle answers from now on.

        Args:
            fingerprint: Its fingerprint.
            source: What it was made of.
            runtime: What computes.
            precision: In which number format.
        """
        self._bundle.clear()
        self._bundle.labels(fingerprint, source, runtime, precision).set(1)

    def text(self) -> bytes:
        """Write them down.

        Returns:
            Text in Prometheus's format.
        """
        return generate_latest(self._registry)

    def _histogram(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, about, labels, buckets=_SECONDS, registry=self._registry)
