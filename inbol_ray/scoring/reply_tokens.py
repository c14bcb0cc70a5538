"""A reply as clauses of plain tokens, which is what the refusal detector reads: reply -> [Clause].

Dress is taken off (thoughts, markdown, LaTeX, labels such as `Answer:`), contractions are written out, quoted text
becomes one token, and scripts that are written without blanks are cut into characters.

Source: ours.
"""

import re
import unicodedata
from typing import NamedTuple

from inbol_ray.scoring.final_text import final_text


class Clause(NamedTuple):
    """A part of a reply between two marks.

    `tokens` are in lower case; `capitals` marks those that the reply writes with a capital within a sentence, and is
    empty where there are none.
    `opens` and `ends` say what stands before and behind it: a mark (`.`, `,`, `;`, `:`, `-`, `~` for an ellipsis), a
    joining word such as `but`, `^` at the start of the reply and `$` at its end.
    """

    tokens: list[str]
    capitals: list[bool]
    opens: str
    ends: str


QUOTE = "\uffff"
"""The token of quoted text."""

MARKS = {
    ".": ".", ",": ",", ";": ";", ":": ":", "!": ".", "?": "?", "…": "~", "...": "~", "。": ".", "，": ",", "、": ",",
    "！": ".", "？": "?", "；": ";", "：": ":", "।": ".", "—": "-", "–": "-", "-": "-", "\n": ".",
}  # fmt: skip
"""Tokens that end a clause, by what they stand for."""

_JOINING_WORDS = (
    "but however although though so because yet nevertheless therefore thus unless "
    "pero sino aunque porque mas porém embora mais cependant donc car aber jedoch sondern weil da dar însă deci tetapi tapi "
    "namun karena jadi но однако поэтому хотя लेकिन पर क्योंकि किंतु কিন্তু তবে কারণ אבל אך לכן"
)
_JOINING = frozenset(_JOINING_WORDS.split())
_JOINING_AFTER_A_MARK = frozenset(["as", "since", "while", "still", "and", "or"])
"""Elsewhere they are ordinary words: "as an example", "a still frame"."""
_SPECIAL = {*MARKS, *_JOINING, *_JOINING_AFTER_A_MARK}
_APOSTROPHES = str.maketrans({**dict.fromkeys("‘’ʼ´′`", "'"), "„": '"', "\u00a0": " "})
_WRAPPER = re.compile(
    r"\\(?:text|boxed|mathrm|textbf|mathbf|emph|underline)\s*\{([^{}]*)\}|\\[()\[\]]|\$+|</?\w[^<>]{0,40}>"
)
_MARKDOWN = re.compile(r"\*+|(?m:^[ \t]*(?:#{1,6}|>+|[-•]|\d{1,2}[.)])[ \t]+)|~~|__")
_OPENS_A_LINE = frozenset("#>-•0123456789")
_HINTS_OF_MARKDOWN = ("*", "\n", "~~", "__")
_LABEL = re.compile(
    r"\s*(?:[\w' ]{0,24}\b(?:answer|response|reply|antwort|respuesta|resposta|réponse|ответ|răspuns|jawaban)"
    r"|assistant|gpt|ai|bot|model|a|q\d?|conclusion|result|verdict|note|caption|description|summary|output|"
    r"答案?|回答は?|答え|답변?|ตอบ|คำตอบ|उत्तर|উত্তর|תשובה)\s*[:：]\s*(?=\S)",
    re.IGNORECASE,
)
_LABEL_REACH = 40
_QUOTED = re.compile(
    r"\"[^\"\n]{1,400}\"|“[^”]{1,400}”|«[^»]{1,400}»|「[^」]{1,400}」|『[^』]{1,400}』|"
    r"(?<!\w)'(?=\S)[^'\n]{0,200}(?:(?<=\w)'(?=\w)[^'\n]{0,200}){0,6}(?<=\S)'(?!\w)"
)
_QUOTE_MARKS = re.compile("[\"'“«「『]")
_CONTRACTIONS = {"cannot": "can not", "can't": "can not", "won't": "will not", "n't": " not", "i'm": "i am"}
_VERB_ENDING = re.compile(r"'(re|ve|ll|d)\b")
_WITHOUT_APOSTROPHE = re.compile(
    r"\b(?:(do|does|did|is|are|was|were|have|has|had|could|would|should)nt|(cant)|(wont)|(im)|(dunno)|(idk))\b"
)
_WRITTEN_OUT = ("", "{} not", "can not", "will not", "i am", "do not know", "i do not know")
_PREFIX = re.compile(r"\b(?:un|non)-(?=\w)")
_CAPITALISED = re.compile(r"(?<=[\w,;'\"(] )[\"'(]?([^\W\d_]\w*)")
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(
    rf"[{_UNSPACED}]|\d+(?:[.,:/]\d+)*|'(?:s|ve|ll|d)\b"
    rf"|(?:[^\W\d_{_UNSPACED}]|[\u0300-\u036f\u0900-\u0963\u0966-\u0dff\u0591-\u05c7\u200c\u200d])+"
    rf"|{QUOTE}|\.\.\.|[.](?=\s|$|[\"')\]])|[,;:!?](?!\w)|[…。，、！？；：।—–]|(?<=\s)-(?=\s)|\n|[&%]"
)
_ASCII_TOKEN = re.compile(
    r"[a-z]+|\d+(?:[.,:/]\d+)*|'(?:s|ve|ll|d)\b|\.\.\.|[.](?=\s|$|[\"')\]])|[,;:!?](?!\w)|(?<=\s)-(?=\s)|[\n&%]"
)
_MAX_CHARACTERS = 6000


def clean(reply: str) -> str:
    """A reply in lower case, without its dress and with its contractions written out; what stands in quotes becomes
    `QUOTE`, unless that is all of it."""
    return _plain(_undress(reply))


def _undress(reply: str) -> str:
    text = final_text(reply)[:_MAX_CHARACTERS]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))
    elif "`" in text:
        text = text.replace("`", "'")
    if "\\" in text or "$" in text or "<" in text:
        text = _WRAPPER.sub(r"\1", _WRAPPER.sub(r"\1", text))  # one may stand in another
    text = text.strip()
    if text[:1] in _OPENS_A_LINE or any(mark in text for mark in _HINTS_OF_MARKDOWN):
        text = _MARKDOWN.sub("", text).strip()
    while ":" in text[:_LABEL_REACH] and (label := _LABEL.match(text)):
        text = text[label.end() :]
    if _QUOTE_MARKS.search(text):
        whole = len(text.strip(" .\n"))
        text = _QUOTED.sub(lambda quoted: quoted[0][1:-1] if len(quoted[0]) >= whole else f" {QUOTE} ", text)
    return text


def _plain(text: str) -> str:
    text = text.lower()
    if "'" in text or "cannot" in text:
        for contraction, words in _CONTRACTIONS.items():
            text = text.replace(contraction, words)
        if "'" in text:
            text = _VERB_ENDING.sub(lambda ending: " are" if ending[1] == "re" else f" {ending[0]}", text)
    if _WITHOUT_APOSTROPHE.search(text):
        text = _WITHOUT_APOSTROPHE.sub(lambda found: _WRITTEN_OUT[found.lastindex or 0].format(found[1]), text)
    return _PREFIX.sub("un", text) if "n-" in text else text


def tokens_of(text: str) -> list[str]:
    """The tokens of cleaned text: words, numbers, marks, and single characters of scripts without blanks."""
    return (_ASCII_TOKEN if text.isascii() else _TOKEN).findall(text)


def split_clauses(reply: str) -> list[Clause]:
    """The clauses of a reply, in order; none of an empty one."""
    text = _undress(reply)
    tokens = tokens_of(_plain(text))
    capital = _capitalised_words(text)
    special = [place for place, token in enumerate(tokens) if token in _SPECIAL]
    clauses: list[Clause] = []
    start, opens = 0, "^"
    for place in (*special, len(tokens)):
        token = tokens[place] if place < len(tokens) else "$"
        mark = MARKS.get(token, "$" if token == "$" else None)
        if mark is None and token in _JOINING_AFTER_A_MARK and (place > start or len(opens) > 1):
            continue  # an ordinary word here
        if place > start:
            part = tokens[start:place]
            clauses.append(Clause(part, [word in capital for word in part] if capital else [], opens, mark or token))
            opens = mark or token
        elif mark is None and len(opens) == 1:
            opens += token
        start = place + 1
    return clauses


def _capitalised_words(text: str) -> frozenset[str]:
    """Words with a capital that no sentence opens with, in lower case; none of a text without small letters."""
    if text[1:].islower() or text.isupper():
        return frozenset()
    return frozenset(word.lower() for word in _CAPITALISED.findall(text) if word[0].isupper() and word != "I")
