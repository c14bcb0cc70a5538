"""The server on this machine, in a Ray of its own, until it is told to stop."""

import os
import queue
import signal
import socket
import sys
from collections.abc import Callable

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import InbolError

APPLICATION = "inbol"
_FAST_PATH = {
    # HAProxy (it comes with ray[serve]) passes connections on to the replicas, which speak HTTP themselves.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # One event loop a process: thread hops cost more than the work of a request does.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # HAProxy would report each request to a Python process, which costs as much as the passing on; ours count already.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    # How long a replica that stops keeps its port open: HAProxy has left it within a second.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
}


def serve_here(load: Callable[[], PipelineConfig]) -> None:
    """Serve what `load` configures; SIGHUP loads anew and rolls over, SIGINT and SIGTERM let requests in flight end.

    Host and port stay those of the start. Raises what `build_application` raises.
    """
    ports = {f"RAY_SERVE_HAPROXY_{name}_PORT": str(_free_port()) for name in ("STATS", "METRICS")}
    for name, value in (_FAST_PATH | ports).items():
        os.environ.setdefault(name, value)
    from ray import serve

    from inbol_ray.runtime.ray_session import started_ray
    from inbol_ray.serving.app import build_application

    config = load()
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    with started_ray(config):
        application = build_application(config)
        where = {"host": config.serving.host, "port": config.serving.port}
        serve.start(http_options=where, logging_config={"log_level": "WARNING"})
        try:
            _run(application, f"Serving {', '.join(config.serving.models)} at http://{where['host']}:{where['port']}")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda number, _frame: signals.put(number))
            while _next(signals) == signal.SIGHUP:
                try:
                    config = load()
                    application = build_application(config)
                except InbolError as error:
                    print(f"error: {error}\nserving goes on as before", file=sys.stderr)
                else:
                    _run(application, f"Rolled over to {', '.join(config.serving.models)}")
        finally:
            serve.delete(APPLICATION)  # waits for requests in flight; the shutdown alone would not
            serve.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _run(application, said: str) -> None:
    from ray import serve

    serve.run(application, name=APPLICATION)
    print(f"{said}; Prometheus metrics at {_metrics_url()}", flush=True)


def _metrics_url() -> str:
    import ray

    node = next(node for node in ray.nodes() if node["Alive"])
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def _next(signals: queue.SimpleQueue) -> int:
    """The next signal; the pauses let Python run its handlers."""
    while True:
        try:
            return signals.get(timeout=0.5)
        except queue.Empty:
            continue
