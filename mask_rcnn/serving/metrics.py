"""Metrics of a server for Prometheus."""

from collections.abc import Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Metrics of one server, in a registry of their own, so that a process may have several servers.

    Attributes:
        requests: Counter of requests, by endpoint and status.
        seconds: Histogram of the time to reply, seconds, by endpoint.
        batch_images: Histogram of the number of images in a batch, by model.
        model_seconds: Histogram of the time of a batch in the model, seconds, by model.
        waiting: Gauge of accepted images without a reply, by model.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = self._make(
            Counter, "requests", "Requests that were answered.", ("endpoint", "status")
        )
        self.seconds = self._make(
            Histogram, "request_seconds", "Seconds to answer a request.", ("endpoint",), buckets=SECONDS
        )
        self.batch_images = self._make(
            Histogram, "batch_images", "Images of a batch.", ("model",), buckets=BATCHES
        )
        self.model_seconds = self._make(
            Histogram, "model_seconds", "Seconds of a batch in the model.", ("model",), buckets=SECONDS
        )
        self.waiting = self._make(
            Gauge, "waiting_images", "Images that are accepted and not yet answered.", ("model",)
        )

    def _make(
        self, kind: type[_Metric], name: str, text: str, labels: Sequence[str], **options: Any
    ) -> _Metric:
        return kind(f"mask_rcnn_{name}", text, labels, registry=self._registry, **options)

    def observe_batch(self, model: str, images: int, seconds: float) -> None:
        """Records a batch.

        Args:
            model: Name of the model.
            images: Number of images in the batch.
            seconds: Time of the batch in the model.
        """
        self.batch_images.labels(model).observe(images)
        self.model_seconds.labels(model).observe(seconds)

    def text(self) -> bytes:
        """Returns all metrics in Prometheus's text format, bytes."""
        return generate_latest(self._registry)
