import math
from collections import Counter

import pytest

from inbol_ray.method.answerability import answerable_probability, is_unanswerable
from inbol_ray.rows import Question
from inbol_ray.subsets import equal_shares, proportional_shares
from inbol_ray.unanswerable.build import take_evenly
from inbol_ray.unanswerable.mismatch import image_corpus, meta_of, pair_mismatched, spread_evenly


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


def candidates(way: str, **sizes: int) -> list[Question]:
    """In the order of their ids, as generated questions come."""
    return [
        Question(
            f"{way}:train:{corpus}_{k:05d}",
            way,
            "train",
            ["x.png"],
            "Why?",
            "open",
            answerable=False,
            meta=meta_of(Question(f"{corpus}:train:{k}", corpus, "train", [], "", "open")),
        )
        for corpus in sorted(sizes)
        for k in range(sizes[corpus])
    ]


def test_take_evenly_fills_up_from_the_larger_group():
    rows = candidates("mismatch", vqav2=3) + candidates("generated", vqav2=7)
    chosen = take_evenly(rows, 8, 0, equal_shares)
    assert len(chosen) == 8 and sum(row.dataset == "mismatch" for row in chosen) == 3
    assert Counter(row.dataset for row in take_evenly(rows, 4, 0, equal_shares)) == {"mismatch": 2, "generated": 2}
    assert take_evenly(rows, 100, 0, equal_shares) == rows


def test_take_evenly_keeps_questions_of_every_corpus():
    """From 10,000 each of three corpora the first by id held none of the third."""
    rows = candidates("generated", oven=1000, scienceqa=1000, vqav2=1000) + candidates("mismatch", oven=50, vqav2=900)
    chosen = take_evenly(rows, 1200, 0, equal_shares)
    assert Counter((row.dataset, image_corpus(row)) for row in chosen) == {
        ("generated", "oven"): 200,
        ("generated", "scienceqa"): 200,
        ("generated", "vqav2"): 200,
        ("mismatch", "oven"): 50,
        ("mismatch", "vqav2"): 550,
    }
    ids = {row.id for row in chosen}
    assert [row for row in rows if row.id in ids] == chosen
    chosen = take_evenly(rows[:3000], 1200, 0, proportional_shares)
    assert Counter(map(image_corpus, chosen)) == {"oven": 400, "scienceqa": 400, "vqav2": 400}


def test_take_evenly_depends_on_ids_and_seed_alone():
    rows = candidates("generated", oven=50, vqav2=50)
    ids = {row.id for row in take_evenly(rows, 30, 0, equal_shares)}
    assert {row.id for row in take_evenly(rows[::-1], 30, 0, equal_shares)} == ids
    assert {row.id for row in take_evenly(rows, 30, 1, equal_shares)} != ids
    assert ids != {row.id for row in rows[:15] + rows[50:65]}  # not the first of each


def two_corpora(num_large: int, num_small: int) -> list[Question]:
    small = [
        Question(f"oven:train:{n}", "oven", "train", [f"oven{n}.png"], f"Name of {n}?", "entity", ["x"])
        for n in range(num_small)
    ]
    return questions(num_large) + small


def test_a_large_corpus_does_not_drown_a_small_one():
    pairs = pair_mismatched(spread_evenly(two_corpora(3000, 100)), 1000, seed=0)
    from_small = sum(image_corpus(pair) == "oven" for pair in pairs)
    assert 400 < from_small < 600  # a thirtieth of all questions, half of the images
    evenly = spread_evenly(two_corpora(3000, 100))
    assert Counter(row.dataset for row in evenly) == {"vqav2": 3000, "oven": 3000}
    assert len({row.id for row in evenly}) == 3100


def test_corpora_of_one_size_are_drawn_from_as_they_are():
    rows = two_corpora(200, 200)
    assert spread_evenly(rows) == rows
    assert spread_evenly([]) == []
