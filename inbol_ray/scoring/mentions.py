"""Where does a reply say a reference answer? read reply, reference -> mentions, whatever the reply says of them.

Articles make no difference, nor do words between the parts of a name or the order of several words. Source: ours.
"""

from dataclasses import dataclass
from functools import lru_cache

from inbol_ray.scoring.asked import FUNCTION_WORDS
from inbol_ray.scoring.linking import Linked, Said
from inbol_ray.scoring.sentences import Token, clean, is_word, tokenise
from inbol_ray.scoring.word_forms import listed

PLACES = {
    word: group
    for group, words in enumerate(
        (
            "on onto atop",
            "in inside within into",
            "under",
            "behind",
            "above over",
            "beside near next by alongside",
            "outside",
            "between",
        )
    )
    for word in words.split()
}
"""Preposition -> the place it names; `on` and `onto` name one."""
_TITLES = frozenset(
    listed(
        """mr mrs ms dr sir lord lady king queen president prince princess pope saint general captain professor actor
        actress singer senator minister chancellor painter author writer artist player coach dame emperor the"""
    )
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reference answer: lemmas of its content words, of its preposition (or empty), and whether it is a proper name."""

    words: tuple[str, ...]
    place: int | None
    is_name: bool
    negations: int


@dataclass(frozen=True, slots=True)
class Mention:
    """Tokens [start, end) of a clause that say the reference."""

    linked: Linked
    start: int
    end: int


@lru_cache(maxsize=1 << 14)
def read_reference(gold: str) -> Wanted:
    """A reference as it is looked for: without articles; its preposition apart; a reference of none but those is kept."""
    tokens = [token for token in tokenise(clean(gold)) if is_word(token)]
    lemmas = [token.lemma for token in tokens]
    place = next((PLACES[token.text.lower()] for token in tokens[:1] if token.text.lower() in PLACES), None)
    words = tuple(word for word in lemmas if word not in FUNCTION_WORDS and word not in PLACES) or tuple(lemmas)
    is_name = len(tokens) > 0 and (
        tokens[-1].text[0].isupper() or all(token.text[0].isupper() or token.text[0].isdigit() for token in tokens)
    )
    return Wanted(
        words, place if len(words) < len(lemmas) else None, is_name, sum(word in ("no", "not") for word in words)
    )


def split_parts(gold: str) -> list[str]:
    """Parts of a reference that lists several things: `salt and pepper`, `red, white and blue`."""
    text = gold.replace(" & ", " and ").replace(", and ", " and ").replace(";", ",")
    return [part.strip() for piece in text.split(" and ") for part in piece.split(",") if part.strip()]


def find_mentions(said: Said, wanted: Wanted) -> list[Mention]:
    """Every place where a reply says the reference's words: in a row but for articles, or close together."""
    found: list[Mention] = []
    if not wanted.words:
        return found
    for linked in said.linked:
        content = [
            (place, token.lemma)
            for place, token in enumerate(linked.clause.tokens)
            if is_word(token) and (token.lemma not in FUNCTION_WORDS or token.lemma in wanted.words)
        ]
        size = len(wanted.words)
        lemmas = [word for _, word in content]
        for first in range(len(content) - size + 1):
            if tuple(lemmas[first : first + size]) == wanted.words:
                found.append(Mention(linked, content[first][0], content[first + size - 1][0] + 1))
        for first in range(len(content) - 1):  # `sail boat` for `sailboat`
            if size == 1 and lemmas[first] + lemmas[first + 1] == wanted.words[0]:
                found.append(Mention(linked, content[first][0], content[first + 1][0] + 1))
        if size == 2:
            found += [Mention(linked, place, place + 1) for place, word in content if word == "".join(wanted.words)]
        if size > 1 and not found:
            found += _loose(linked, content, wanted, said)
    return found


def _loose(linked: Linked, content: list[tuple[int, str]], wanted: Wanted, said: Said) -> list[Mention]:
    """A name without its first or with its middle names; else all words in any order, few others between."""
    lemmas = [word for _, word in content]
    if wanted.is_name:
        last = wanted.words[-1]
        if last not in lemmas or last.isdigit():
            return []
        number = lemmas.index(last)
        place = content[number][0]
        if wanted.words[0] in lemmas[max(0, number - 3) : number]:
            return [Mention(linked, content[lemmas.index(wanted.words[0])][0], place + 1)]
        if said.asked.kind != "person" or _other_first_name(linked.clause.tokens, place):
            return []
        return [Mention(linked, place, place + 1)]
    places = [[place for place, word in content if word == one] for one in wanted.words]
    if not all(places):
        return []
    chosen = [one[0] for one in places]
    if max(chosen) - min(chosen) > len(wanted.words) + 4:
        return []
    return [Mention(linked, min(chosen), max(chosen) + 1)]


def _other_first_name(tokens: list[Token], place: int) -> bool:
    before = tokens[place - 1] if place else None
    return before is not None and before.text[0].isupper() and place > 1 and before.text.lower() not in _TITLES
