"""A reply without its dress: markdown, LaTeX, quotes and `Answer:` -> the bare answer. Pure functions of text."""

import re

_BACKSLASHED = re.compile(r"\\([()\[\]*_$])")
_LATEX = re.compile(
    r"\\(?:boxed|fbox|framebox|text|textbf|textit|textrm|mathbf|mathrm|mathit|mathsf|bf|rm|bm|boldsymbol|large|Large)"
    r"\s*\{([^{}]*)\}"
)
_MATH = re.compile(r"\$\$?(?=\S)([^$\n]*?)(?<=\S)\$\$?(?!\w)")
_EMPHATIC = re.compile(r"[*_`]")
_EMPHASIS = (
    re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|`{1,3})(?=[^\s*_`])([^\n]*?[^\s*_`]|[^\s*_`])\1(?!\w)"),
    re.compile(r"(\*\*|__)(?=\S)([^\n]+?)(?<=\S)\1"),
)
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+", re.MULTILINE)
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "\u300c": "\u300d"}
_PREFIX = re.compile(
    r"(?:the\s+)?(?:(?:final|correct|short|best)\s+)*answer\s*(?:\s+is\s*:?|:)\s*(?=\S)", re.IGNORECASE
)
_FINAL_MARKS = ".!,;:\u3002"


def without_markup(text: str) -> str:
    """The text without emphasis, headings, `$...$` and LaTeX's boxes and fonts; all else as it stands."""
    text = text.strip()
    if "\\" in text:
        text = _BACKSLASHED.sub(lambda mark: mark[1] if mark[1] in "*_$" else " ", text)
        while (inner := _LATEX.sub(r"\1", text)) != text:
            text = inner
    if "$" in text:
        text = _MATH.sub(r"\1", text)
    if "#" in text:
        text = _HEADING.sub("", text)
    if _EMPHATIC.search(text):
        for pattern in _EMPHASIS:
            text = pattern.sub(r"\2", text)
    return text.strip()


def without_quotes(text: str) -> str:
    """The text without one pair of quotes around the whole of it."""
    end = _QUOTES.get(text[:1])
    inner = text[1:-1]
    if end is None or len(text) < 3 or text[-1] != end or text[0] in inner or end in inner:
        return text
    return inner.strip()


def plain_answer(reply: str) -> str:
    """A short answer as it is compared under our own rules: no markup, `Answer:`, surrounding quotes or final marks.

    What would leave nothing is left as it stands. Source: ours.
    """
    text = without_markup(reply)
    text = _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text
    for _ in range(2):  # `"red."` and `"red".`
        text = without_quotes(text.rstrip().rstrip(_FINAL_MARKS) or text)
    return text or reply
