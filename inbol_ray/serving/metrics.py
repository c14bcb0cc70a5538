"""Prometheus metrics of one gateway. They count and time; nothing of a prompt or an image is in them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from inbol_ray.serving.answer import End

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TENTHS = tuple(k / 10 for k in range(1, 11))


class ServingMetrics:
    """`model` is empty for requests that failed before their model was known."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        options = {"registry": self._registry}
        self._requests = Counter("inbol_requests", "Chat requests by HTTP status.", ["model", "status"], **options)
        self._seconds = Histogram(
            "inbol_request_seconds",
            "Time to the response, or to the first event of a stream.",
            ["model"],
            buckets=_SECONDS,
            **options,
        )
        self._replies = Counter("inbol_replies", "Replies by decision.", ["model", "decision", "decided_by"], **options)
        self._confidence = Histogram(
            "inbol_confidence", "Confidence of replies.", ["model"], buckets=_TENTHS, **options
        )
        self._tokens = Counter("inbol_tokens", "Tokens by kind.", ["model", "kind"], **options)
        self._ongoing = Gauge("inbol_ongoing_requests", "Chat requests in the gateway.", **options)

    def begin_request(self) -> None:
        self._ongoing.inc()

    def end_request(self, model: str, status: int, seconds: float) -> None:
        self._ongoing.dec()
        self._requests.labels(model, status).inc()
        self._seconds.labels(model).observe(seconds)

    def observe_reply(self, model: str, end: End) -> None:
        self._replies.labels(model, "refused" if end.refused else "answered", end.decided_by).inc()
        self._confidence.labels(model).observe(end.confidence)
        self._tokens.labels(model, "prompt").inc(end.num_prompt_tokens)
        self._tokens.labels(model, "completion").inc(end.num_tokens)

    def render(self) -> bytes:
        return generate_latest(self._registry)
