import numpy as np
import pyarrow as pa
import pytest

from inbol_ray.evaluation.estimator_auroc import area_under_roc, compare_estimators, roc_curve


def test_auroc_is_the_share_of_pairs_in_order_ties_half():
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 5, 200) / 4, rng.random(200) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[right] for b in scores[~right]]
    assert area_under_roc(scores, right)[0] == pytest.approx(np.mean(pairs))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth = 0.76025  # Phi(1 / sqrt 2): normal scores one standard deviation apart
    covered = 0
    for _ in range(400):
        right = rng.random(150) < 0.4
        auroc, half = area_under_roc(rng.normal(right * 1.0), right)
        covered += abs(auroc - truth) <= half
    assert 0.91 <= covered / 400 <= 0.98


def test_the_curve_has_the_area_and_both_corners():
    rng = np.random.default_rng(2)
    scores, right = rng.integers(0, 11, 500) / 10, rng.random(500) < 0.5
    points = np.array(roc_curve(scores, right))
    assert points[0].tolist() == [0, 0] and points[-1].tolist() == [100, 100]
    area = np.trapezoid(points[:, 1], points[:, 0]) / 1e4
    assert area == pytest.approx(area_under_roc(scores, right)[0], abs=1e-3)


def predictions(rows):
    names = ("id", "method", "domain", "answerable", "outcome")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


def test_only_fresh_answers_of_the_original_to_answerable_questions_count():
    rows = [
        ("a", "original", "in_domain", True, "correct"),
        ("b", "original", "in_domain", True, "wrong"),
        ("c", "original", "in_domain", True, "refused"),
        ("d", "original", "in_domain", False, "wrong"),
        ("e", "original", "in_domain", True, "error"),
        ("not sampled", "original", "in_domain", True, "wrong"),
        ("a", "ca_dpo", "in_domain", True, "wrong"),
        ("a", "original", "out_of_domain", True, "correct"),
    ]
    answers = pa.table(
        {
            "id": list("abcde"),
            "confidence": [0.9, 0.1, 0.5, 0.0, 0.5],
            "self_consistency": [0.5, 0.5, 0.5, 0.5, 0.5],
            "likelihood": [0.1, 0.9, 0.5, 0.5, 0.5],
        }
    )
    compared = compare_estimators(predictions(rows), answers)
    assert [(row["estimator"], row["domain"], row["num_questions"], row["auroc"]) for row in compared] == [
        ("confidence", "in_domain", 2, 100.0),
        ("self_consistency", "in_domain", 2, 50.0),
        ("likelihood", "in_domain", 2, 0.0),
    ]
    assert compared[0]["interval"] == [100.0, 100.0]
