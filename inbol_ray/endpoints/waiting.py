"""When to send: the pace of requests, and how long to wait before another try. Seconds throughout."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
LONGEST_RETRY_AFTER_S = 3600.0
"""A server that asks for longer is asked again after this."""

Sleep = Callable[[float], Awaitable[None]]


def retry_delay_s(attempt: int, retry_after: str | None, now: datetime | None = None) -> float:
    """Seconds before the try after `attempt` (0 for the first): what `Retry-After` says (seconds or an HTTP date), else
    a backoff that doubles. Jitter keeps those that failed together from coming back together.
    """
    backoff = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2**attempt) * random.uniform(0.5, 1)
    told = None if retry_after is None else _parse_retry_after(retry_after, now or datetime.now(UTC))
    return backoff if told is None else min(told, LONGEST_RETRY_AFTER_S) + random.uniform(0, FIRST_BACKOFF_S)


def _parse_retry_after(text: str, now: datetime) -> float | None:
    """Seconds; None for what is neither a number nor a date."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return max(seconds, 0.0) if seconds == seconds else None


class Pace:
    """Spreads the starts of requests evenly over a minute."""

    def __init__(
        self, per_minute: float | None, sleep: Sleep = asyncio.sleep, clock: Callable[[], float] | None = None
    ):
        self._interval_s = 60 / per_minute if per_minute else 0.0
        self._sleep, self._clock = sleep, clock or (lambda: asyncio.get_running_loop().time())
        self._next = float("-inf")

    async def wait(self) -> None:
        """Returns when the next request may start."""
        if not self._interval_s:
            return
        now = self._clock()
        start = max(now, self._next)
        self._next = start + self._interval_s
        if start > now:
            await self._sleep(start - now)
