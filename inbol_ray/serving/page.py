"""The page at `/`: one HTML file without external assets, and the headers that keep it so."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("page.html")


@cache
def page_html() -> str:
    return _FILE.read_text(encoding="utf-8")


@cache
def page_headers() -> dict[str, str]:
    """A policy that runs the page's own script and style by their hashes, and talks to this server only."""
    script, style = (
        _hash(re.search(f"<{tag}>(.*?)</{tag}>", page_html(), re.DOTALL)[1]) for tag in ("script", "style")
    )
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src {script}; style-src {style}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
