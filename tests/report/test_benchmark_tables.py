"""The Markdown tables of an evaluation, from numbers by hand."""

from inbol_ray.evaluation.refusal_benchmarks import BENCHMARKS
from inbol_ray.report.benchmark_tables import (
    LABELS,
    render_agreement,
    render_refusal_table,
    render_rules_table,
    render_tables,
    render_usage,
)


def figures(acc, refr, s_trust) -> dict:
    return {"acc": acc, "refr": refr, "s_trust": s_trust}


def paper_cell(ours, published=(None,) * 3, difference=(None,) * 3, num_questions=900) -> dict:
    found = {"ours": figures(*ours), "published": figures(*published), "difference": figures(*difference)}
    return found | {"num_questions": num_questions}


def refusal_row(**fields) -> dict:
    rates = {"right_rate": 55.0, "answerable_acc": 40.0, "answerable_refr": 10.0, "unanswerable_refr": 60.0}
    rates |= {"answerability_acc": 75.0, "refusal_f1": 65.0, "pairs_right_rate": None}
    row = {"method": "original", "benchmark": "mmaad_base", "num_questions": 1640, "by_type": {}, "own": {}}
    return row | rates | fields


def test_ours_stands_beside_the_papers_figures():
    aokvqa = paper_cell((73.0, 17.64, 63.64), (72.23, 17.64, 62.10), (0.77, 0.0, 1.54), num_questions=1145)
    rows = [
        {"method": "ca_dpo", "cells": {"aokvqa": aokvqa, "mmmu": paper_cell((20.0, None, 1.0), num_questions=1145)}},
        {"method": "<b>", "cells": {"aokvqa": aokvqa}},
    ]
    empty = {"table": 3, "title": "Empty", "rows": [], "notes": []}
    text = render_tables([{"table": 2, "title": "Out-of-domain", "rows": rows, "notes": ["A note."]}, empty])
    shown = "73.00 / 17.64 / 63.64 (72.23 / 17.64 / 62.10; +0.77 / +0.00 / +1.54)"
    assert f"| ca_dpo | {shown} | 20.00 / - / 1.00 |\n| &lt;b> | {shown} |  |" in text
    assert "A note.\n\nmmmu: 1,145 questions here, 900 in the paper.\n" in text and "aokvqa: 1,145" not in text
    assert "## Table 2: Out-of-domain" in text and "Empty" not in text


def test_every_benchmark_of_refusal_has_a_label():
    assert tuple(LABELS) == BENCHMARKS


def test_refusal_benchmarks_and_their_types():
    rows = [
        refusal_row(),
        refusal_row(benchmark="humblebench", by_type={"Object": 70.0, "Relation": None}),
        refusal_row(benchmark="kie_hvqa", own={"final_similarity": 65.0}),
    ]
    text = render_refusal_table({"title": "Benchmarks of refusal", "rows": rows})
    assert "| original | MM-UPD AAD, base | 1,640 | 55.00 | 40.00 | 10.00 | 60.00 | 75.00 | 65.00 | - |" in text
    assert "HumbleBench, original, right by type: Object 70.00, Relation -." in text
    assert "KIE-HVQA, original: final similarity 65.00." in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert render_refusal_table({"title": "Benchmarks of refusal", "rows": []}) == ""


def test_acc_under_each_rule():
    acc = {"ours": 0.0, "official": 12.5, "free_text": 100.0}
    row = {"method": "<b>", "benchmark": "bench", "num_questions": 1234, "acc": acc}
    text = render_rules_table([row | {"only_free_text": 1, "not_free_text": 0}])
    assert "| &lt;b> | bench | 1,234 | 0.00 | 12.50 | 100.00 | 1 | 0 |" in text
    assert render_rules_table([]) == ""


def test_what_endpoints_were_asked():
    counts = {"requests": 1200, "rejected": 1, "input_tokens": 34567, "output_tokens": 8, "untold": 0, "cut_off": 2}
    rows = [counts | {"told_refusals": 3, "model": name, "cost": cost} for name, cost in (("a|b", 0.25), ("c", None))]
    text = render_usage(rows)
    assert "| a\\|b | 1,200 | 1 | 34,567 | 8 | 0 | 2 | 3 | 0.2500 |" in text and "| 3 | \N{EN DASH} |" in text
    assert render_usage([]) == ""


def test_rules_and_judge():
    row = {"method": "m|1", "kind": "refusal", "both": 2, "rule_only": 1, "judge_only": 1, "neither": 0}
    agreement = [
        row | {"no_verdict": 1, "kappa": -1 / 3},
        row | {"kind": "correctness", "no_verdict": 0, "kappa": None},
    ]
    scores = [{"method": "m|1", "benchmark": "gqa", "rule": figures(25, 50, 0), "judge": figures(50, 50, 50)}]
    compared = {"judge": "j", "prompt_version": 1, "agreement": agreement, "scores": scores}
    text = render_agreement(compared)
    assert "## Rules and judge (j, prompt 1)\n\nDoes the reply refuse?\n\n| Method |" in text
    assert "| m\\|1 | 5 | 2 | 1 | 1 | 0 | 1 | \N{MINUS SIGN}0.33 |" in text and "| 0 | 0 | \N{EN DASH} |" in text
    assert "| m\\|1 | gqa | 25.0 / 50.0 | 50.0 / 50.0 | 0.0 / 50.0 |" in text
    assert render_agreement(compared | {"agreement": []}) == render_agreement(None) == ""
