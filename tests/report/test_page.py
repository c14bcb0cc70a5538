"""The page's sections, from results by hand: what they say, that they stay away without data, and that text stays text."""

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.metrics import build_results
from inbol_ray.method.risk_coverage import summarise
from inbol_ray.report.markup import escape, printable, rich
from inbol_ray.report.page import TEMPLATES, render_page
from inbol_ray.report.wording import order_sentence
from inbol_ray.rows import PREDICTION

EMPTY = PREDICTION.empty_table()
SCRIPT = "<script>alert(1)</script>"


def page_of(**fields) -> str:
    def no_image(reference: str) -> bytes:
        raise AssertionError(reference)

    return render_page(build_results(EMPTY, []) | fields, EMPTY, [], ClassConfig(), no_image)


def scored(method: str, acc: float, refr: float) -> dict:
    numbers = {
        "num_questions": 10,
        "num_errors": 0,
        "unparsed_rate": 0.0,
        "answered_acc": None,
        "acc": acc,
        "refr": refr,
    }
    numbers["s_trust"] = 2 * acc + refr - 100
    row = {"method": method, "domain": "in_domain", "seed": 0, "benchmarks": {"gqa": numbers}} | numbers
    return row | {"answerable": numbers, "unanswerable": numbers | {"num_questions": 0}}


def test_outside_text_is_escaped_and_made_printable():
    assert escape("<a href='x\x00'>") == "&lt;a href=&#39;x\ufffd&#39;&gt;"
    assert printable(Markup("<b>")) == "<b>" and printable("\ud800") == "\ufffd" and printable(3) == 3
    assert rich("S_trust <in-domain>") == 'S<sub>trust</sub> &lt;<span class="whole">in-domain</span>&gt;'


def test_a_template_escapes_what_it_is_given_and_refuses_a_name_that_is_not_there():
    template = TEMPLATES.from_string('<p title="{{ text }}">{{ text }}</p>')
    assert template.render(text='"<\x1b>') == '<p title="&#34;&lt;\ufffd&gt;">&#34;&lt;\ufffd&gt;</p>'
    with pytest.raises(UndefinedError):
        template.render()


def test_without_data_only_the_scores_and_the_provenance_are_there():
    page = page_of()
    assert page.count("<h2>") == 2 and "<h2>Scores</h2>" in page and "<h2>Provenance</h2>" in page


def test_where_methods_change_places():
    page = page_of(results=[scored("original", 60.0, 0.0), scored("<b>", 40.0, 50.0)])
    assert "Below λ = 0.67 Original is ahead of &lt;b&gt;, above it &lt;b&gt;." in page and "<b>" not in page
    assert page.count('class="line" d=') == 4  # two of them in the legend
    assert "No two methods change places" in page_of(results=[scored("original", 60.0, 0.0), scored("sft", 50.0, 0.0)])
    assert "No two methods change places" not in page_of(results=[scored("original", 60.0, 0.0)])
    change = {"penalty": 2 / 3, "ahead_below": "original", "ahead_above": "idk_it"}
    assert order_sentence(change) == "Below λ = 0.67 Original is ahead of IDK-IT, above it IDK-IT."


def test_risk_and_coverage_of_every_method():
    rows = [
        {"method": method, "domain": "in_domain", "confidence": k / 50, "wrong": k % 3 == 0}
        for method in ("original", SCRIPT)
        for k in range(50)
    ]
    page = page_of(risk_coverage=summarise(rows))
    assert "<script>" not in page and page.count('class="line" d=') == 4 and "Cov. at 10%" in page
    assert "ECE, equal width" in page and "in 15 bins" in page


def test_estimators():
    names = ("confidence", "self_consistency", "likelihood")
    curve = {"domain": "in_domain", "num_questions": 1234, "auroc": 71.25, "interval": [60.0, 80.0]}
    page = page_of(estimators=[curve | {"estimator": name, "roc": [(0.0, 0.0), (100.0, 100.0)]} for name in names])
    assert page.count('class="line" d=') == 6  # a curve and a key each
    assert "Self-consistency: 71.2 (60.0 to 80.0)" in page and "in-domain, 1,234 answers" in page


def test_rules_usage_and_judge_are_tables_of_text():
    rule = {"method": SCRIPT, "benchmark": "b", "num_questions": 1, "only_free_text": 1, "not_free_text": 0}
    rule["acc"] = {"ours": 0.0, "official": 0.0, "free_text": 100.0}
    usage = dict.fromkeys(("requests", "rejected", "input_tokens", "output_tokens", "untold", "cut_off"), 1000)
    usage |= {"told_refusals": 0, "model": SCRIPT, "cost": None}
    row = {"method": SCRIPT, "kind": "refusal", "both": 2, "rule_only": 1, "judge_only": 1, "neither": 0}
    judge = {"judge": "<j>", "prompt_version": 1, "agreement": [row | {"no_verdict": 1, "kappa": 0.5}], "scores": []}
    page = page_of(rules=[rule], endpoints=[usage], judge=judge)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;</th>") == 3 and "<script>" not in page
    assert "&lt;j&gt; was asked, by prompt 1." in page and "<td>1,000</td>" in page and "<td>100.0</td>" in page
