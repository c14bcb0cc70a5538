"""A seeded subset of a corpus in one pass: Questions, in any order -> those with the lowest ranks of their stratum.

A stratum is what the corpus's results are broken down by (`breakdown`: VQAv2's answer types, ScienceQA's subjects and
grades, VizWiz's answer types and so on), with the kind of answer and answerability; each keeps its share. Rotations of
one question (MMBench) and questions that only count together (MM-UPD's pairs) are drawn together and count once. All of
it is ours. In memory are ranks alone, of each stratum at most as many as are wanted; the questions that may yet be
drawn wait on disk.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterator
from types import TracebackType

from inbol_ray.corpora.breakdown import question_classes, question_group, question_pair
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.rows import Question
from inbol_ray.subsets import proportional_shares, rank


class StratifiedSample:
    """Use as a context manager: `add` every question once, then read `drawn`."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self.num_seen = self.num_drawn = 0
        self._sizes: Counter[str] = Counter()
        self._heaps: dict[str, list[int]] = {}
        """Of each stratum the lowest ranks, negative: the highest of them comes first."""
        self._groups = DiskIndex()
        self._waiting = DiskIndex()

    def __enter__(self) -> "StratifiedSample":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._groups.close()
        self._waiting.close()

    def add(self, question: Question) -> None:
        """Take in a question; a group belongs to the stratum of its first."""
        number, self.num_seen = self.num_seen, self.num_seen + 1
        stratum, place = stratum_of(question), self._rank(question)
        group = _drawn_with(question)
        is_new = group is None or self._groups.add(group, stratum)
        if not is_new:
            stratum = self._groups.get(group)
        heap = self._heaps.setdefault(stratum, [])
        if is_new:
            self._sizes[stratum] += 1
            if len(heap) < self.size:
                heapq.heappush(heap, -place)
            else:
                heapq.heappushpop(heap, -place)
        if place <= -heap[0]:
            self._waiting.add(f"{number:012d}", json.dumps([stratum, question.to_row()]))

    def drawn(self) -> Iterator[Question]:
        """The subset, in the order in which its questions were added; after it `num_drawn` is their number."""
        shares = proportional_shares(self._sizes, self.size)
        lowest = {name: heapq.nlargest(share, self._heaps[name]) for name, share in shares.items() if share}
        highest = {name: -negated[-1] for name, negated in lowest.items()}
        self.num_drawn = 0
        for _, value in self._waiting.items():
            stratum, row = json.loads(value)
            question = Question.from_row(row)
            if self._rank(question) <= highest.get(stratum, -1):
                self.num_drawn += 1
                yield question

    def _rank(self, question: Question) -> int:
        return rank(_drawn_with(question) or question.id, self.seed)


def _drawn_with(question: Question) -> str | None:
    return question_pair(question) or question_group(question)


def stratum_of(question: Question) -> str:
    """What a question is drawn in proportion to, as text."""
    return f"{question.answer_kind}, answerable {question.answerable}, {question_classes(question)}"
