"""What a finished run leaves in its output folder, from artifacts written by hand."""

import json
from pathlib import Path

import pytest

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.evaluation import InDomainTest
from inbol_ray.config.judge import JudgeConfig
from inbol_ray.config.load import load_config
from inbol_ray.judging.stage import VERDICT
from inbol_ray.pipeline import build_stages
from inbol_ray.report.publish import publish, publish_benchmarks
from inbol_ray.rows import PREDICTION, QUESTION, SAMPLED_ANSWERS
from inbol_ray.store.artifacts import Store
from inbol_ray.store.row_writer import write_rows

DEMO = Path(__file__).parents[2] / "jobs" / "configs" / "demo.yaml"


def predictions() -> list[dict]:
    """ScienceQA by both methods, MMBench by one alone."""
    rows = []
    for method, outcomes in (("original", ["correct", "wrong"]), ("ca_dpo", ["correct", "refused"])):
        for number, outcome in enumerate(outcomes):
            rows.append(
                {"id": f"scienceqa:test:{number}", "benchmark": "scienceqa", "method": method, "outcome": outcome}
            )
    for rotation, outcome in ((7, "correct"), (1_000_007, "refused")):
        rows.append({"id": f"mmbench:en:{rotation}", "benchmark": "mmbench", "method": "ca_dpo", "outcome": outcome})
        rows[-1] |= {"group": "mmbench:en:7"}
    common = {"domain": "in_domain", "classes": "{}", "seed": 0, "answerable": True, "unparsed": False, "score": 0.0}
    return [common | {"images": [], "question": "?", "gold_answers": ["a"], "response": "a"} | row for row in rows]


@pytest.fixture
def config(tmp_path):
    config = load_config(["--config", str(DEMO), "--output_dir", str(tmp_path / "out")])
    store, stages = Store(tmp_path / "out" / "artifacts"), build_stages(config)
    for name in ("evaluate", "confidence", "test_confidence", "questions"):
        store.folder(stages[name]).mkdir(parents=True)
    write_rows(store.folder(stages["evaluate"]) / "predictions.parquet", predictions(), PREDICTION)
    for name in ("confidence", "test_confidence"):
        write_rows(store.folder(stages[name]) / "answers.parquet", [{"id": "t", "confidence": 0.5}], SAMPLED_ANSWERS)
    write_rows(store.folder(stages["questions"]) / "train.parquet", [{"id": "t"}], QUESTION)
    return config


def test_a_pipelines_page_compares_what_all_methods_answered(config, capsys):
    manifest = {"wall_s": 1.0, "counts": {}, "rejected": {}, "artifact": "x", "git_commit": None, "packages": {}}
    results = publish(config, {"evaluate": manifest})
    assert [set(row["benchmarks"]) for row in results["results"]] == [{"scienceqa"}] * 2
    out_dir = Path(config.output_dir)
    for name in ("results.json", "report.html", "predictions.parquet", "benchmarks.json", "tables.md"):
        assert (out_dir / name).stat().st_size > 0
    assert "Table 1: In-domain average" in capsys.readouterr().out


def test_every_pair_is_in_the_benchmarks(config):
    content = publish_benchmarks(config)
    scores = {(row["method"], row["benchmark"]): row for row in content["scores"]}
    assert scores.keys() == {("original", "scienceqa"), ("ca_dpo", "scienceqa"), ("ca_dpo", "mmbench")}
    assert (scores["ca_dpo", "mmbench"]["refr"], scores["ca_dpo", "mmbench"]["vanilla"]["acc"]) == (100.0, 100.0)
    assert content["scoring"] == {"rules": "ours", "entity_match": "contains"}
    assert json.loads((Path(config.output_dir) / "benchmarks.json").read_text()) == content


def test_what_endpoints_were_asked_stands_in_every_file(config):
    usage = {"model": "far", "endpoint": "m at http://h/v1", "requests": 1200, "rejected": 1, "input_tokens": 34567}
    usage |= {"output_tokens": 8, "untold": 0, "cut_off": 2, "told_refusals": 3, "cost": 0.25}
    (Store(f"{config.output_dir}/artifacts").folder(build_stages(config)["evaluate"]) / "usage.json").write_text(
        json.dumps([usage])
    )
    manifest = {"wall_s": 1.0, "counts": {}, "rejected": {}, "artifact": "x", "git_commit": None, "packages": {}}
    assert publish(config, {"evaluate": manifest})["endpoints"] == [usage]
    out_dir = Path(config.output_dir)
    assert json.loads((out_dir / "benchmarks.json").read_text())["endpoints"] == [usage]
    assert "| far | 1,200 | 1 | 34,567 | 8 | 0 | 2 | 3 | 0.2500 |" in (out_dir / "tables.md").read_text()
    assert "<td>34,567</td>" in (out_dir / "report.html").read_text()


def test_a_judge_stands_in_every_file(config):
    judge = JudgeConfig(judges="refusal", endpoint=EndpointConfig(url="http://h/v1", model="j"))
    judged = config.model_copy(update={"scoring": config.scoring.model_copy(update={"judge": judge})})
    folder = Store(f"{config.output_dir}/artifacts").folder(build_stages(judged)["judge"])
    folder.mkdir(parents=True)
    row = {"id": "scienceqa:test:0", "method": "ca_dpo", "benchmark": "scienceqa", "kind": "refusal", "judge": "j"}
    row |= {
        "prompt_version": 1,
        "rule": False,
        "verdict": True,
        "said": "REFUSED",
        "outcome": "refused",
        "unparsed": False,
    }
    write_rows(folder / "verdicts.parquet", [row], VERDICT)
    manifest = {"wall_s": 1.0, "counts": {}, "rejected": {}, "artifact": "x", "git_commit": None, "packages": {}}
    compared = publish(judged, {"evaluate": manifest})["judge"]
    assert compared["agreement"][0]["judge_only"] == 1
    assert compared["scores"][0]["judge"] == {"acc": 0.0, "refr": 100.0, "s_trust": 0.0}
    out_dir = Path(config.output_dir)
    assert json.loads((out_dir / "benchmarks.json").read_text())["judge"] == compared
    assert "## Rules and judge (j, prompt 1)" in (out_dir / "tables.md").read_text()
    assert "Do the rules and a judge agree?" in (out_dir / "report.html").read_text()
    assert "judge" not in publish(config, {"evaluate": manifest})


def test_an_in_domain_test_makes_nothing_stale_and_stands_in_every_file(config):
    evaluation = config.evaluation.model_copy(update={"in_domain_test": InDomainTest(questions=2, unanswerable=1)})
    tested = config.model_copy(update={"evaluation": evaluation})
    assert build_stages(tested)["evaluate"].artifact_id == build_stages(config)["evaluate"].artifact_id
    manifest = {"wall_s": 1.0, "counts": {}, "rejected": {}, "artifact": "x", "git_commit": None, "packages": {}}
    results = publish(tested, {"evaluate": manifest})
    assert [row["num_questions"] for row in results["in_domain_test"]] == [1, 1]  # none here is unanswerable
    out_dir = Path(config.output_dir)
    assert json.loads((out_dir / "benchmarks.json").read_text())["in_domain_test"] == results["in_domain_test"]
    assert json.loads((out_dir / "results.json").read_text())["in_domain_test"] == results["in_domain_test"]
    assert (
        "test: 1 in-domain questions drawn by a hash of their ids: 1 answerable ("
        in (out_dir / "tables.md").read_text()
    )
    assert "in_domain_test" not in publish(config, {"evaluate": manifest})
