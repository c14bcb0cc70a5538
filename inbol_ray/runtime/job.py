"""What every job wraps around its work."""

import signal
import sys
from collections.abc import Callable

from inbol_ray.errors import ConfigError, InbolError


def run_job(work: Callable[[], object]) -> None:
    """What every `jobs/*.py` wraps around its work: exit 2 with what is wrong in the
    configuration, 1 with one line on another known error, 130 or 143 when stopped."""

    def stop(signum, _frame) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, stop)
    try:
        work()
    except (KeyboardInterrupt, SystemExit) as stopped:
        print(
            "stopped; run the same command again: finished stages are skipped, an unfinished one goes on from what it saved",
            file=sys.stderr,
        )
        raise SystemExit(getattr(stopped, "code", 130)) from None
    except InbolError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None
