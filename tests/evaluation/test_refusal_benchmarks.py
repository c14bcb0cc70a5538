"""The table of the benchmarks of refusal, from scores by hand."""

from refusal_benchmark_files import REFUSAL_SPLITS

from inbol_ray.evaluation.refusal_benchmarks import BENCHMARKS, build_refusal_table


def scored(method, benchmark, right_rate, pairs=None, classes=None, own=None, seed=0) -> dict:
    answerable = {"acc": 40.0, "refr": 10.0}
    return {
        "method": method,
        "benchmark": benchmark,
        "seed": seed,
        "num_questions": 1640,
        "right_rate": right_rate,
        "answerable": answerable,
        "unanswerable": {"acc": 0.0, "refr": 60.0},
        "answerability_acc": 75.0,
        "refusal_f1": 65.0,
        "own": own,
        "pairs": None if pairs is None else {"num_pairs": 820, "right_rate": pairs},
        "classes": classes or {},
    }


def test_every_benchmark_of_refusal_is_in_the_table():
    assert set(BENCHMARKS) == set(REFUSAL_SPLITS) and len(set(BENCHMARKS)) == len(BENCHMARKS)


def test_seeds_are_averaged_and_other_benchmarks_left_out():
    scores = [scored("original", "mmaad_base", 50.0, 20.0), scored("original", "mmaad_base", 60.0, 30.0, seed=1)]
    table = build_refusal_table([*scores, scored("original", "gqa", 1.0)])
    (row,) = table["rows"]
    assert (row["right_rate"], row["pairs_right_rate"], row["num_pairs"]) == (55.0, 25.0, 820)
    assert row["by_type"] == row["own"] == {}


def test_rates_by_the_benchmarks_own_types():
    classes = {"type": {"Object": {"right_rate": 70.0}, "Relation": {"right_rate": None}}, "other": {}}
    (row,) = build_refusal_table([scored("original", "humblebench", 50.0, classes=classes)])["rows"]
    assert row["by_type"] == {"Object": 70.0, "Relation": None}


def test_what_only_one_benchmark_has():
    scores = [scored("original", "kie_hvqa", 50.0, own={"final_similarity": value}) for value in (60.0, 70.0)]
    assert build_refusal_table(scores)["rows"][0]["own"] == {"final_similarity": 65.0}
