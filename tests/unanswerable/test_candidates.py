import math

import pytest

from inbol_ray.rows import Question
from inbol_ray.unanswerable.build import answerable_probability, is_unanswerable, take_evenly
from inbol_ray.unanswerable.mismatch import pair_mismatched


def questions(count: int) -> list[Question]:
    return [
        Question(f"vqav2:train:{n}", "vqav2", "train", [f"{n}.png"], f"Question {n % 7}?", "vqa10", ["x"])
        for n in range(count)
    ]


def test_mismatch_never_pairs_an_image_with_its_own_text():
    rows = questions(50)
    own = {(row.images[0], row.question) for row in rows}
    pairs = pair_mismatched(rows, 200, seed=0)
    assert len(pairs) == 200 == len({pair.id for pair in pairs})
    assert not {(pair.images[0], pair.question) for pair in pairs} & own
    assert all(pair.answerable is False and not pair.gold_answers for pair in pairs)


def test_mismatch_is_seeded_and_bounded():
    rows = questions(10)
    assert pair_mismatched(rows, 5, 1) == pair_mismatched(rows, 5, 1) != pair_mismatched(rows, 5, 2)
    assert pair_mismatched(rows[:1], 5, 1) == []
    assert len(pair_mismatched(questions(3), 100, 1)) <= 6


def test_probability_from_first_token():
    assert answerable_probability({" yes": math.log(0.6), " No": math.log(0.2), " x": -1}) == pytest.approx(0.75)
    assert answerable_probability({" maybe": -0.1}) is None


def test_filter_drops_what_cannot_be_judged():
    assert is_unanswerable(0.49, 0.5) and not is_unanswerable(0.5, 0.5) and not is_unanswerable(None, 0.5)


def test_take_evenly_fills_up_from_the_larger_group():
    rows = questions(10)
    for row in rows[:3]:
        row.dataset = "mismatch"
    chosen = take_evenly(rows, 8)
    assert len(chosen) == 8 and sum(row.dataset == "mismatch" for row in chosen) == 3
    assert len(take_evenly(rows, 4)) == 4 and sum(row.dataset == "mismatch" for row in take_evenly(rows, 4)) == 2
