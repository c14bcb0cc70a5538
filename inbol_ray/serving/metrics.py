"""Prometheus metrics of a replica. They count and time; nothing of a prompt or an image is in them.

Ray exports them, as `ray_inbol_...` with the labels `application`, `deployment` and `replica`, at the metrics endpoint
of the replica's node: a sum over `replica` is the server's.
"""

from ray.serve.metrics import Counter, Gauge, Histogram

from inbol_ray.serving.answer import End

_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
_TENTHS = [k / 10 for k in range(1, 11)]


class ServingMetrics:
    """Create it in a replica. `model` is empty for requests that failed before their model was known."""

    def __init__(self) -> None:
        self._requests = Counter("inbol_requests", "Chat requests by HTTP status.", ("model", "status"))
        self._seconds = Histogram(
            "inbol_request_seconds", "Time to the response, or to the first event of a stream.", _SECONDS, ("model",)
        )
        self._replies = Counter("inbol_replies", "Replies by decision.", ("model", "decision", "decided_by"))
        self._confidence = Histogram("inbol_confidence", "Confidence of replies.", _TENTHS, ("model",))
        self._tokens = Counter("inbol_tokens", "Tokens by kind.", ("model", "kind"))
        self._ongoing = Gauge("inbol_ongoing_requests", "Chat requests in the replica.")
        self._num_ongoing = 0

    def begin_request(self) -> None:
        self._count_ongoing(1)

    def end_request(self, model: str, status: int, seconds: float) -> None:
        self._count_ongoing(-1)
        self._requests.inc(tags={"model": model, "status": str(status)})
        self._seconds.observe(seconds, tags={"model": model})

    def observe_reply(self, model: str, end: End) -> None:
        decision = "refused" if end.refused else "answered"
        self._replies.inc(tags={"model": model, "decision": decision, "decided_by": end.decided_by})
        self._confidence.observe(end.confidence, tags={"model": model})
        for kind, count in (("prompt", end.num_prompt_tokens), ("completion", end.num_tokens)):
            if count:
                self._tokens.inc(count, tags={"model": model, "kind": kind})

    def _count_ongoing(self, change: int) -> None:
        self._num_ongoing += change
        self._ongoing.set(self._num_ongoing)
