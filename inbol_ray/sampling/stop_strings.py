"""Where a reply ends that is written in more than one request: vLLM looks for stop strings in each alone."""

from collections.abc import Sequence


class StopStrings:
    """Text in pieces -> text to pass on, up to the first of the stop strings, which is not part of it."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._held = ""
        self._num_held = max(map(len, self._stop), default=1) - 1

    def take(self, text: str, *, last: bool) -> tuple[str, bool]:
        """(text that cannot be part of a stop string, whether one was found). Nothing is held back after the last."""
        self._held += text
        # As vLLM: the one that is complete first.
        found = [(at + len(stop), at) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        end = min(found)[1] if found else len(self._held) - (0 if last else self._num_held)
        passed, self._held = self._held[: max(0, end)], self._held[max(0, end) :]
        return passed, bool(found)
