"""What a server counts and times, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Measures:
    """The measures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "upscore_requests",
            "Requests answered, by path and status",
            ("path", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "upscore_stage_seconds",
            "Time of each stage of a photo",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "upscore_batch_photos",
            "Photos that went through the network together",
            buckets=(1, 2, 3, 4, 6, 8, 12, 16, 32),
            registry=self.registry,
        )
        self.in_hand = Gauge(
            "upscore_photos_in_hand",
            "Photos admitted and not yet answered",
            registry=self.registry,
        )
        self.queued = Gauge(
            "upscore_queue_photos", "Photos that wait for the network", registry=self.registry
        )
        for stage in ("decode", "queue", "network", "encode"):
            self.seconds.labels(stage)
