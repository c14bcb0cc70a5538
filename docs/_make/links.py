"""mkdocs hook: links from a page to a file of the repository (`../jobs/...`) become the file's path, as text.

In the repository such links work as they stand; the built site does not hold those files.
"""

import re

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_) -> str:
    return _OUTSIDE.sub(r"`\2`", markdown)
