"""Acc under every rule, from rows judged under all of them."""

import pyarrow as pa

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.evaluation.prediction_row import GreedyReply, Rules, judge_row
from inbol_ray.evaluation.rule_scores import score_rules
from inbol_ray.rows import PREDICTION, Question


def judged(number, reply, group=None, method="m", **fields):
    asked = Question(
        f"d:s:{number}", "d", "s", ["x"], "What color is it?", "exact", **({"gold_answers": ["red"]} | fields)
    )
    row = asked.to_row() | {"benchmark": "bench", "domain": "in_domain"}
    rules = Rules(0.5, ScoringRules())
    return judge_row(row, GreedyReply(*reply), method=method, checkpoint="c", seed=0, rules=rules) | {"group": group}


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=PREDICTION)


def test_a_reply_is_judged_under_every_rule():
    assert judged(1, ("It is red.", "", ""))["by_rule"] == {
        "ours": "wrong",
        "official": "wrong",
        "free_text": "correct",
    }
    assert judged(1, ("**red**", "", ""))["by_rule"] == {"ours": "correct", "official": "wrong", "free_text": "correct"}
    assert set(judged(1, ("", "timeout", "why"))["by_rule"].values()) == {"error"}


def test_acc_by_rule_and_what_only_free_text_calls_right():
    replies = ["red", "It is red.", "**red**", "It is blue."]
    (row,) = score_rules(table(*(judged(number, (reply, "", "")) for number, reply in enumerate(replies))))
    assert row["acc"] == {"ours": 50.0, "official": 25.0, "free_text": 75.0}
    assert (row["only_free_text"], row["not_free_text"], row["num_questions"]) == (1, 0, 4)


def test_rotations_are_merged_under_each_rule_by_itself():
    rows = [judged(1, ("red", "", ""), group="d:s:1"), judged(2, ("It is red.", "", ""), group="d:s:1")]
    (row,) = score_rules(table(*rows))
    assert (row["num_questions"], row["acc"]["ours"], row["acc"]["free_text"]) == (1, 0.0, 100.0)


def test_rows_that_were_not_judged_so_leave_the_table_out():
    old = judged(1, ("red", "", "")) | {"by_rule": None}
    assert score_rules(table(old)) == []
