"""What a question asks for, in any of the languages that the detector knows: question -> QuestionForm.

A statement of absence answers `Is there a dog?` and `How many dogs?`, and declines `What colour is the dog?`: hence the
kind. The stems tell which words of a reply repeat the question.

Source: ours.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from inbol_ray.scoring.reply_tokens import MARKS, clean, tokens_of


class QuestionForm(NamedTuple):
    """`kind` is one of `KINDS`; `stems` are those of the words that carry content, `tokens` the last of all tokens."""

    kind: str
    stems: frozenset[str]
    tokens: tuple[str, ...]


NO_QUESTION = QuestionForm("none", frozenset(), ())

_STEM_LENGTH = 5
_MAX_CHARACTERS = 300
_MAX_TOKENS = 48

# `words` stand anywhere in the question, `starts` at its start, `parts` need no blank around them.
_FORMS: Sequence[tuple[str, str, str, str]] = (
    (
        "how_many",
        "how many|how much|number of|cuántos?|cuántas?|quantos|quantas|combien|wie viele?|wieviele?|сколько|berapa|câți|câte|"
        "quanti|quante",
        "count",
        "कितने|कितनी|কত|কয়|몇|กี่|כמה|几|多少|いくつ|何人|何本|何枚|何台|何個|何匹",
    ),
    ("wrong", "wrong|problem|unusual|missing|strange|odd|funny|difference|special|issue|absent|falsch|mal|raro", "", ""),
    (
        "say",
        "say|says|read|reads|written|write|text|spell|transcribe|message|words?|steht|dice|diz|écrit|написано|tertulis|scrie",
        "",
        "写|書い|लिखा|লেখা|쓰여|적혀|เขียน|כתוב",
    ),
    (
        "describe",
        "",
        "describe|explain|write|summari[sz]e|give|list|generate|compose|create|caption|tell|beschreibe?|describa|descreva|"
        "décrivez|опиши|опишите|jelaskan|deskripsikan|descrie",
        "描述|説明して|वर्णन|বর্ণনা|설명|อธิบาย|תאר",
    ),
    ("possible", "", "is it possible|is it safe|is it clear|is it known|can you|can i|can we|can one|could you", ""),
    (
        "yes_no",
        "est-ce que|y a-t-il|apakah|adakah",
        "is|are|was|were|do|does|did|can|could|has|have|had|will|would|should|am|may|might|must|ist|sind|war|hat|haben|gibt|"
        "kann|trägt|hay|es|está|están|tiene|son|lleva|há|tem|existe|é|são|есть|este|sunt|există|are|האם|יש|क्या",
        "吗|吧|ですか|ますか|ませんか|니까|나요|있어|ไหม|หรือไม่|হয়েছে কি|আছে কি|কি আছে|হচ্ছে কি",
    ),
    ("who", "who|whose|whom|quién|quem|qui|wer|wessen|кто|чей|чья|siapa|cine|chi", "", "谁|誰|कौन|কে|누구|ใคร|מי"),
    ("where", "where|dónde|onde|où|wo|где|mana|unde|dove", "", "哪里|哪儿|どこ|कहाँ|कहां|কোথা|어디|ที่ไหน|איפה|היכן"),
    (
        "when",
        "when|what time|what year|what date|what day|what month|cuándo|quando|quand|wann|когда|kapan|când",
        "",
        "什么时候|几点|いつ|何時|कब|কখন|언제|เมื่อไ|מתי",
    ),
    (
        "why",
        "why|por qué|por que|pourquoi|warum|weshalb|почему|зачем|mengapa|kenapa|de ce|perché",
        "",
        "为什么|なぜ|どうして|क्यों|কেন|왜|ทำไม|למה|מדוע",
    ),
    ("how", "how|cómo|como|comment|wie|как|bagaimana|cum", "", "怎么|如何|どう|कैसे|কীভাবে|어떻게|อย่างไร|ยังไง|איך"),
    ("which", "which|cuál|qual|quel|quelle|welche[rsmn]?|какой|какая|какое|care|what (?:kind|type|brand|model|breed|species|"
     "colou?r|make|flavou?r)", "", "哪|どの|どちら|कौन सा|কোন|어느|อันไหน|איזה|איזו"),
    ("what", "what|qué|que|was|что|apa|ce|cosa", "", "什么|何|क्या|কী|무엇|뭐|무슨|อะไร|מה"),
)  # fmt: skip

KINDS = ("none", *(kind for kind, *_ in _FORMS), "other")
"""What a question may ask for; `none` where there is no question."""


def _compile(words: str, starts: str, parts: str) -> re.Pattern[str]:
    ways = [rf"(?<!\w)(?:{words})(?!\w)"] if words else []
    ways += [rf"\A[\s¿]*(?:(?:so|and|but|then|well|please)[ ,]+)?(?:{starts})(?!\w)"] if starts else []
    return re.compile("|".join([*ways, *([f"(?:{parts})"] if parts else [])]))


_PATTERNS = [(kind, _compile(*places)) for kind, *places in _FORMS]
_STOP_WORDS = (
    "what which who whose whom where when why how is are was were do does did can could has have had will would should "
    "the a an of in on at to for from by with this that these those it its his her their there he she they you your i my "
    "me we us be been being and or any some if as image picture photo photograph shown see many much please tell not"
)
_STOP = frozenset(_STOP_WORDS.split())


def stem(token: str) -> str:
    """The first letters of a word: `dog` of `dogs`, `visib` of both `visible` and `visibility`."""
    if len(token) > _STEM_LENGTH:
        return token[:_STEM_LENGTH]
    return token.removesuffix("s") if len(token) > 3 else token


@lru_cache(maxsize=1 << 14)
def read_question(question: str | None) -> QuestionForm:
    """The form of a question; `NO_QUESTION` for None or a blank one."""
    if not question or not question.strip():
        return NO_QUESTION
    text = clean(question).lower()
    kind = next((kind for kind, pattern in _PATTERNS if pattern.search(text[:_MAX_CHARACTERS])), "other")
    tokens = tokens_of(text[-_MAX_CHARACTERS:])[-_MAX_TOKENS:]
    words = [token for token in tokens if len(token) > 1 and token not in _STOP and token not in MARKS]
    return QuestionForm(kind, frozenset(map(stem, words)), tuple(tokens))
