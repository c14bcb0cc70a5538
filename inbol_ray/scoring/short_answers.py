"""Which part of a reply counts as its answer? reply -> the text to read.

A declared answer (`Final answer: ...`, a box, a heading `Answer`) stands for the whole reply. Of a reply that corrects
itself only what follows the correction counts. Source: ours.
"""

import re

_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_LABEL = re.compile(
    r"(?:^|\n|[.!?]\s|\*\*|\b(?:so|therefore|thus|hence)\W{1,3}(?:the\s+)?)[\s#>*_-]*(?:(?:the|my|short)\s+)?(?:(?:final|correct|short|best)\s+)*"
    r"(?:answer|conclusion|result)\b[\s*_]*(?::[\s*_]*|\s+is\s*:?\s*|\s*\n[\s*_#-]*)(?=\S)",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"(?:^|[.,;:!?\n\u2026\u2014\u2013-]|\s-|\b(?:but|oh|or))\s*(?:"
    r"(?:no|oh|oops|hmm+|ah|well|sorry|hang\s+on|hold\s+on)\W{1,4}(?:wait|sorry|no|actually|hold\s+on|hang\s+on|correction|my\s+mistake)\b|"
    r"wait\b(?!ing|\s+(?:for|to|in|at|on|until))|"
    r"hold\s+on\b|hang\s+on\b|scratch\s+that|strike\s+that|correction\b|let\s+me\s+(?:correct|recount|rephrase|count\s+again|look\s+again|check\s+again)|"
    r"(?<=[.!?\n])\s*actually\b|(?:up)?on\s+(?:second\s+(?:thoughts?|look|glance)|a\s+second\s+look|closer\s+(?:inspection|look|examination)|reflection)|(?:sorry\W{1,4})?i\s+mean(?:t)?\b|"
    r"i\s+(?:was\s+wrong|made\s+a\s+mistake|misread|misspoke|stand\s+corrected|take\s+that\s+back)|my\s+(?:mistake|bad)|oops\b|check\s+that\b|it\s+turns\s+out|make\s+that\b|sorry\s*,|"
    r"(?<=[.!?\u2026\u2014\u2013])\s*no\s*,|(?:or\s+)?rather\s*,|(?:or\s+|well\W+)?more\s+(?:precisely|exactly|accurately)\b|(?<=or)\s*rather\b|(?:now\s+that\s+i\s+look|looking)\s+(?:again|closer|more\s+closely)|"
    r"(?:no|sorry)\s*,\s*(?=i\b|it\b|that\b|there\b|the\b|they\b|this\b|he\b|she\b|a\b|an\b|\d|\w+\s*[.!]?$))\W*",
    re.IGNORECASE,
)
_YES_NO = re.compile(r"\W*(?:yes|no)\b", re.IGNORECASE)
_FIRST_IMPRESSION = re.compile(
    r"\b(?:at\s+first(?:\s+(?:glance|sight))?|(?:i|we)\s+(?:first|originally|initially|almost|had)\s+\w+|initially|originally|"
    r"(?:i|we)\s+(?:would\s+have\s+)?(?:thought|took|guessed|assumed|expected|mistook|said)|my\s+(?:first|initial)\s+\w+|first\s+(?:guess|impression|thought)|"
    r"from\s+(?:afar|a\s+distance))\b",
    re.IGNORECASE,
)
_OTHERS_SAY = re.compile(
    r"\b(?:could|might|may|can)\s+(?:easily\s+)?be\s+(?:mis)?taken\s+for\b|\b(?:i|you|one|people|some|many)\s+(?:\w+\s+)?(?:might|may|could|would)\s+(?:\w+\s+)?(?:think|guess|say|assume|expect|mistake|take|call)\b",
    re.IGNORECASE,
)
_HEDGE = r"(?!i\s+(?:am|can|do|could|would)\s+not|we\b|not\b|hard\b|without\b|(?:it|this|that)\s+(?:is|could|may|might|would)\s+(?:not\s+)?(?:also|be|hard|difficult|clear|possible|certain|sure))"
_TURN = re.compile(r"\b(?:but|however|yet|actually|in\s+fact)\b\W*" + _HEDGE + r"|[.;]\s+(?=\w)", re.IGNORECASE)
_BUT = re.compile(r"\b(?:but|however|yet)\b\W*" + _HEDGE, re.IGNORECASE)
_SEEMING = re.compile(r"\b(?:looks?|seems?|appears?|sounds?)\b[^.;]*?(?=\bbut\b)", re.IGNORECASE)


def declared_answer(reply: str) -> str | None:
    """The answer that a reply sets apart by a label or a box, the last of several; None without one."""
    if boxes := _BOXED.findall(reply):
        return boxes[-1]
    labels = list(_LABEL.finditer(reply))
    if not labels:
        return None
    rest = reply[labels[-1].end() :].strip()
    return rest.strip("*_ ") and rest


def after_corrections(text: str) -> str:
    """What a text says after it corrects itself; all of it where it does not."""
    for found in reversed(list(_CORRECTION.finditer(text))):
        is_second = any(mark.isalnum() for mark in text[: found.start()]) or _YES_NO.match(text, found.end())
        if is_second and sum(c.isalnum() for c in text[found.end() :]) > 0:
            return text[found.end() :]
    for impression, turn in ((_FIRST_IMPRESSION, _TURN), (_OTHERS_SAY, _BUT), (_SEEMING, _BUT)):
        if first := impression.search(text):
            turned = turn.search(text, first.end())
            if turned and (rest := text[turned.end() :]).strip(" .,!"):
                return rest
    if "?" in text[:-1]:
        question, _, rest = text.partition("?")
        if rest.strip() and len(question.split()) <= 6:  # `Trout? No, that is salmon.`
            return (
                re.sub(r"^\W*(?:no\W+)?", "", rest, flags=re.IGNORECASE)
                if re.match(r"\W*no\b", rest, re.IGNORECASE)
                else text
            )
    return text
