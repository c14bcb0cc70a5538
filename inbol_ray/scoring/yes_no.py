"""Which of yes and no does a reply say? reply -> `yes`, `no` or None.

Source: TUBench evaluate.py (extract_label) without its default of yes for a reply that says neither.
"""

import re

_WORDS = re.compile(r"(?<![\w'])(?:yes|no)(?![\w'])")


def read_yes_no(reply: str, official: bool = False) -> str | None:
    """The first of the two words, since the answer is asked for before its explanation; `official`: `yes` where it says
    both, wherever they stand."""
    words = _WORDS.findall(reply.lower())
    if not words:
        return None
    return max(words) if official else words[0]
