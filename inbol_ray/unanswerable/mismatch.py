"""Question x Question -> candidate: an image paired with a question that was written for another image."""

import json
from collections.abc import Sequence

import numpy as np

from inbol_ray.rows import Question


def pair_mismatched(questions: Sequence[Question], num_pairs: int, seed: int) -> list[Question]:
    """At most `num_pairs` candidates, in an order that the seed fixes.

    A pair is left out when the corpus asks the same text about the image itself, since its answer is then known.
    Multiple choice loses its options: the options of another image would often hold no answer at all, which gives
    the mismatch away. Source: InBoL (arXiv 2412.11196) section 2, mismatch.
    """
    if len(questions) < 2:
        return []
    asked = {(tuple(question.images), question.question) for question in questions}
    rng = np.random.default_rng([seed, 41])
    candidates: dict[str, Question] = {}
    for image_index, text_index in rng.integers(len(questions), size=(4 * num_pairs, 2)):
        image, text = questions[image_index], questions[text_index]
        if (tuple(image.images), text.question) in asked:
            continue
        native = f"{image.id}+{text.id}".replace(":", "_")
        candidate = Question(
            id=f"mismatch:train:{native}",
            dataset="mismatch",
            split="train",
            images=list(image.images),
            question=text.question,
            answer_kind="open",
            answerable=False,
            meta=meta_of(image),
        )
        candidates.setdefault(candidate.id, candidate)
        if len(candidates) == num_pairs:
            break
    return list(candidates.values())


def spread_evenly(questions: Sequence[Question]) -> list[Question]:
    """Each corpus as often as the largest, its questions repeated as evenly as can be: one that is drawn from these
    comes from each corpus with the same chance."""
    corpora: dict[str, list[Question]] = {}
    for question in questions:
        corpora.setdefault(question.dataset, []).append(question)
    most = max(map(len, corpora.values()), default=0)
    return [corpus[place * len(corpus) // most] for corpus in corpora.values() for place in range(most)]


def meta_of(source: Question) -> str:
    """`Question.meta` of a candidate about a question's image."""
    return json.dumps({"image_of": source.id, "image_corpus": source.dataset})


def image_corpus(candidate: Question) -> str:
    return json.loads(candidate.meta)["image_corpus"]
