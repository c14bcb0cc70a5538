"""Text from outside -> markup. Questions, replies and names are data: nothing in them may become HTML.

Templates escape every expression by themselves (autoescape); what HTML cannot hold at all is replaced here.
"""

import re

import markupsafe
from markupsafe import Markup

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def printable(value: object) -> object:
    """The value, with characters that HTML cannot hold (controls, lone surrogates) as U+FFFD."""
    is_plain = isinstance(value, str) and not isinstance(value, Markup)
    return _CONTROL.sub("\ufffd", value) if is_plain else value


def escape(text: object) -> Markup:
    """HTML-escape text, quotes included, unless it is markup."""
    return markupsafe.escape(printable(text))


def rich(text: str) -> Markup:
    """`escape`, with S_trust typeset and words such as `in-domain` kept on one line."""
    kept = re.sub(r"[^\s(&;]+-[^\s)&;,.]+", r'<span class="whole">\g<0></span>', str(escape(text)))
    return Markup(kept.replace("S_trust", "S<sub>trust</sub>"))
