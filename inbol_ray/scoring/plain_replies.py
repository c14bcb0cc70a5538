"""A grammar of plain replies for the refusal network's training: words, questions -> rows that answer or refuse.

The authors' replies are chosen to be hard; most replies of a model fine-tuned on VQA are a word or two. Any word may be
one, invented ones and letters too, and under any question; and `I don't know` declines any question.

Source: ours.
"""

import random
from collections.abc import Iterator, Sequence

from inbol_ray.method.prompts import REFUSALS

_FORMS = (
    "{w}", "{w}", "{w}", "{w}.", "{W}", "{W}.", "{w} {v}", "{W} {V}", "{w} {v} {u}", "a {w}", "the {w}", "an old {w}", "{w} and {v}",
    "{w}, {v}", "{w}, {v} and {u}", "{n}", "{n}.", "{n} {w}", "{l}", "{l}.", "({l})", "{l}. {w}", "The answer is {l}.",
    "Answer: {w}", "{w} or more", "It is a {w}.", "It's {w}.", "The {w} is {v}.", "A {w} {v}.", "There are {n} {w}.",
    "There is a {w} on the {v}.", "He is holding a {w}.", "She wears a {w} {v}.", "In the {w}.", "on the {w}", "to the {w}",
    "next to the {w}", "near a {v} {w}", "with a {w}", "for the {w}", "because of the {w}", "Yes.", "yes", "No", "no, {w}",
    "Yes, it is {w}.", "They are {w}.", "A {w} and a {v} are next to a {u}.", "{W} {V} ({n})", "{n}%", "${n}", "{n}:{m}",
    "{W} Street {n}", "about {n} {w}", "**{w}**", "The {w} of the {v} is {u}.", "This is a {w} with {n} {v}.", "{x}", "{x}", "{X}",
    "{x} {w}", "a {x}", "{X} {V}", "It is {x}.", "The {w} is called {X}.",
)  # fmt: skip
_STARTS = (*"bcdfghjklmnprstvwz", "br", "dr", "st", "tr", "pl")
_VOWELS = (*"aeiou", "ea", "ou")
_ENDS = (*"nrlstkmx", "nd", "rt", "", "")


def plain_answers(words: Sequence[str], questions: Sequence[str], number: int, seed: int) -> Iterator[dict]:
    """`number` rows `{question, reply, refusal}` with `refusal` false, of words that no refusal needs."""
    drawn = random.Random(seed)
    for _ in range(number):
        w, v, u = (drawn.choice(words) for _ in range(3))
        x = "".join(drawn.choice(part) for part in (_STARTS, _VOWELS) * drawn.randint(1, 3)) + drawn.choice(_ENDS)
        n, m = (
            drawn.choice((drawn.randint(0, 12), drawn.randint(13, 99), drawn.randint(100, 2100))),
            drawn.randint(10, 59),
        )
        reply = drawn.choice(_FORMS).format(
            w=w, v=v, u=u, x=x, n=n, m=m, l=drawn.choice("ABCDE"), W=w.title(), V=v.title(), X=x.title()
        )
        yield {"question": drawn.choice(questions), "reply": reply, "refusal": False}


_SUBJECTS = ("I", "I", "We", "Sorry, I", "I'm sorry, but I", "Unfortunately, I", "I really", "Honestly, I")
_DECLINES = (
    "don't know", "do not know", "can't tell", "cannot tell", "can't say", "cannot answer", "can't answer that",
    "cannot answer this question", "don't know that", "don't know the answer", "cannot determine that", "have no idea",
    "can't help with that", "am not sure", "am unable to answer", "cannot say for sure", "can't see that",
)  # fmt: skip
_BARE = (
    "Unanswerable", "unknown", "not sure", "unsure", "no idea", "don't know", "can't tell", "cannot tell", "idk", "unclear",
    "It is unknown", "It is not possible to tell", "It's impossible to say", "It cannot be determined", "This cannot be answered",
    "This question cannot be answered", "It cannot be determined from the image", "Not enough information",
    "There is not enough information to answer", "The image does not say", "It is not clear from the image", "Hard to say",
    "The answer is unknown", "That is beyond my knowledge", "I'd rather not answer", "Cannot be determined", "No answer",
)  # fmt: skip
_ENDS_OF_REPLY = (".", "", ".", "!", "...", " ")


def plain_refusals(questions: Sequence[str], number: int, seed: int) -> Iterator[dict]:
    """`number` rows `{question, reply, refusal}` with `refusal` true: the method's own refusals, and the shortest ones."""
    drawn = random.Random(seed)
    own = [text.rstrip(".") for texts in REFUSALS.values() for text in texts]
    for _ in range(number):
        text = drawn.choice(
            (drawn.choice(own), f"{drawn.choice(_SUBJECTS)} {drawn.choice(_DECLINES)}", drawn.choice(_BARE))
        )
        text = drawn.choice((text, text, text, text.lower(), text.upper(), text.replace("'", "\u2019"), f"**{text}**"))
        yield {"question": drawn.choice(questions), "reply": text + drawn.choice(_ENDS_OF_REPLY), "refusal": True}
