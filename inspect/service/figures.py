"""What Prometheus is told: https://prometheus.io/docs/practices/naming/."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from flawmap.inspect.run.records import ImageRecord
from flawmap.inspect.service.inspection_queue import InspectionQueue

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
VERDICTS = ("OK", "REVIEW", "NG", "ERROR")
# Why a request for an inspection was not taken.
REFUSALS = {400: "bad_request", 403: "not_allowed", 404: "not_found", 408: "stalled", 413: "too_large", 503: "no_place"}


class Figures:
    """Those of one service, in a registry of their own."""

    def __init__(self, queue: InspectionQueue, *, product: str, bundle_sha256: str, device: str, version: str) -> None:
        self.registry = CollectorRegistry()
        self._images = Counter("flawmap_images", "Images inspected", ["verdict"], registry=self.registry)
        self._seconds = Histogram(
            "flawmap_stage_seconds", "Seconds an image took", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self._received = Counter("flawmap_received", "Images that were received and lined up", registry=self.registry)
        self._rejected = Counter("flawmap_rejected", "Requests not taken", ["reason"], registry=self.registry)
        waiting = Gauge("flawmap_queue_images", "Images received, waiting or being inspected", registry=self.registry)
        waiting.set_function(lambda: queue.taken)
        Gauge("flawmap_queue_places", "Most that may be", registry=self.registry).set(queue.places)
        Info("flawmap_model", "What inspects", registry=self.registry).info(
            {"product": product, "bundle_sha256": bundle_sha256, "device": device, "version": version}
        )
        for verdict in VERDICTS:  # a series that begins with its first image has no rate before it
            self._images.labels(verdict)
        for reason in REFUSALS.values():
            self._rejected.labels(reason)

    def received(self) -> None:
        self._received.inc()

    def inspected(self, record: ImageRecord) -> None:
        self._images.labels(record.verdict).inc()
        for stage, milliseconds in record.milliseconds.items():
            self._seconds.labels(stage).observe(milliseconds / 1e3)

    def rejected(self, status: int) -> None:
        """Counts an answer with this status of HTTP, where it is one of REFUSALS."""
        if status in REFUSALS:
            self._rejected.labels(REFUSALS[status]).inc()

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)
