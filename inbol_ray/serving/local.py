"""The server on this machine, in a Ray of its own, until it is told to stop."""

import os
import signal
import threading

from inbol_ray.config.schema import PipelineConfig

APPLICATION = "inbol"
_FAST_PATH = {
    # One event loop a process: thread hops cost more than the work of a request does.
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}


def serve_here(config: PipelineConfig) -> None:
    """Serve until SIGINT or SIGTERM, then let requests in flight end. Raises what `build_application` raises."""
    for name, value in _FAST_PATH.items():
        os.environ.setdefault(name, value)
    from ray import serve

    from inbol_ray.pipeline import started_ray
    from inbol_ray.serving.app import build_application

    application = build_application(config)
    serving = config.serving
    stopped = threading.Event()
    with started_ray(config):
        serve.start(http_options={"host": serving.host, "port": serving.port}, logging_config={"log_level": "WARNING"})
        try:
            serve.run(application, name=APPLICATION)
            print(f"Serving {', '.join(serving.models)} at http://{serving.host}:{serving.port}", flush=True)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stopped.set())
            stopped.wait()
        finally:
            serve.shutdown()
