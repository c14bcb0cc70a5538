"""Replies and their questions as arrays for the refusal network: texts -> Inputs.

Tokens of all replies are in one row, an empty one between replies, so that no convolution reaches from one into the next;
clauses are segments of that row.

Source: ours.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inbol_ray.scoring.question_form import KINDS, read_question, stem
from inbol_ray.scoring.reply_tokens import Clause

NUM_BUCKETS = 4096
"""Buckets of the hashed parts of words; bucket 0 is that of no word."""
NUMBER = "0"
"""The token that stands for every number."""
NUM_FLAGS = 2
NUM_PLACES = 5
MAX_CLAUSES = 24
_MAX_CLAUSE_TOKENS = 40
_PART_LENGTHS = (3, 4, 5)
_MAX_PARTS = 24
_KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class TokenRows:
    """Tokens of several texts: `tokens` (n,) strings, "" between texts; `asked` and `capital` are the places of words that
    the question has too, and of words with a capital; `starts` (s,) the first token of
    each segment, `ends` (s,) behind its last."""

    tokens: list[str]
    asked: list[int]
    capital: list[int]
    starts: np.ndarray
    ends: np.ndarray

    def flags(self) -> np.ndarray:
        """(n, 2) float32: is a word of the question, has a capital."""
        flags = np.zeros((len(self.tokens), NUM_FLAGS), np.float32)
        flags[self.asked, 0] = 1
        flags[self.capital, 1] = 1
        return flags


@dataclass(frozen=True)
class Inputs:
    """A batch of b replies with c clauses in all, to q different questions.

    `replies` has a segment a clause, `questions` one a question, of which `question` (b,) says the reply's. `owner` (c,) is
    each clause's reply and `number` (c,) its place in it; `places` (c, 5) float32 says the same for the network; `kinds`
    (b,) are indices into `KINDS`.
    """

    replies: TokenRows
    questions: TokenRows
    question: np.ndarray
    owner: np.ndarray
    number: np.ndarray
    places: np.ndarray
    kinds: np.ndarray


def word_parts(token: str) -> list[int]:
    """Buckets of the letter groups of a token, of three to five letters with its ends marked."""
    if token[0] in "<>":
        return [0]
    marked = f"<{token}>"
    groups = {marked[i : i + n] for n in _PART_LENGTHS for i in range(len(marked) - n + 1)}
    return [1 + zlib.crc32(group.encode()) % (NUM_BUCKETS - 1) for group in sorted(groups)[:_MAX_PARTS]]


def shorten(clauses: list[Clause]) -> list[Clause]:
    """At most `MAX_CLAUSES`: what stands in the middle of a long reply is left out."""
    if len(clauses) <= MAX_CLAUSES:
        return clauses
    return clauses[: MAX_CLAUSES - 10] + clauses[-10:]


def pack_inputs(clauses: Sequence[Sequence[Clause]], questions: Sequence[str | None]) -> Inputs:
    """Arrays of replies, each cut into one clause or more, and of their questions; both of length b."""
    said, asked = _Rows(), _Rows()
    counts = [len(parts) for parts in clauses]
    numbers: dict[str | None, int] = {}
    kinds: list[int] = []
    for parts, question in zip(clauses, questions, strict=True):
        form = read_question(question)
        kinds.append(_KIND_NUMBERS[form.kind])
        if question not in numbers:
            numbers[question] = len(numbers)
            asked.add(list(form.tokens) or ["<none"])
            asked.end_text()
        for clause in parts:
            said.add_clause(clause, form.stems)
        said.end_text()
    owner = np.repeat(np.arange(len(counts)), counts)
    number = np.concatenate([np.arange(count) for count in counts])
    sizes = np.repeat(counts, counts)
    places = (number == 0, number == sizes - 1, sizes == 1, np.minimum(sizes, 10) / 10, number / sizes)
    return Inputs(
        said.pack(),
        asked.pack(),
        np.array([numbers[question] for question in questions]),
        owner,
        number,
        np.stack(places, 1).astype(np.float32),
        np.array(kinds),
    )


class _Rows:
    def __init__(self) -> None:
        self.tokens: list[str] = [""]
        self.asked: list[int] = []
        self.capital: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add_clause(self, clause: Clause, stems: frozenset[str]) -> None:
        tokens = clause.tokens[:_MAX_CLAUSE_TOKENS]
        first = len(self.tokens) + 1
        if stems:
            self.asked += [
                first + place for place, token in enumerate(tokens) if len(token) > 1 and stem(token) in stems
            ]
        if clause.capitals:
            self.capital += [
                first + place for place, capital in enumerate(clause.capitals[:_MAX_CLAUSE_TOKENS]) if capital
            ]
        self.add([f"<{clause.opens}", *tokens, f">{clause.ends}"])

    def add(self, tokens: list[str]) -> None:
        self.starts.append(len(self.tokens))
        self.tokens += tokens
        self.ends.append(len(self.tokens))

    def end_text(self) -> None:
        self.tokens.append("")

    def pack(self) -> TokenRows:
        return TokenRows(self.tokens, self.asked, self.capital, np.array(self.starts), np.array(self.ends))


def number_tokens(tokens: Sequence[str], numbers: Mapping[str, int]) -> np.ndarray:
    """(n,) the number of each token, 0 for one that has none."""
    return np.array([numbers.get(token, 0) for token in tokens])
