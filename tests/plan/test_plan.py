"""Workload against hand counts, the simulation against hand schedules, rates measured before assumed."""

import math

import pytest

from inbol_ray.config.load import load_config
from inbol_ray.pipeline import build_stages
from inbol_ray.plan.estimate import ASSUMED, find_rate, measured_manifests, plan_stage, warn, what_if
from inbol_ray.plan.simulation import Scenario, best_rows_per_block, largest_useful, simulate
from inbol_ray.plan.workload import build_work
from inbol_ray.runtime.stage import Stage
from inbol_ray.runtime.work import Work
from inbol_ray.store.artifacts import Store

PAPER = ["--config", "jobs/configs/paper_llava15_7b.yaml"]


def works_of(config, manifests=None) -> dict[str, Work]:
    return build_work(build_stages(config), config, manifests or {})


def manifest(stage: str, config, blocks: list, **timing) -> dict:
    timing = {"parts": 1, "done": 100, "first_report_s": 30.0, "tail_s": 5.0, "blocks": blocks} | timing
    return {
        "stage": stage,
        "artifact": f"{stage}-1",
        "settings": {"base_model": config.base_model.model_dump(mode="json")},
        "timing": {"questions": timing},
        "finished": "2026-01-01T00:00:00",
    }


def test_workload_of_the_paper():
    config = load_config([*PAPER, "--corpora", "[{dataset: scienceqa, split: train, root: x}]"])
    works = works_of(config)
    tests = 10_000 + 2_017 + 10_000 + 6_624 + 1_145 + 12_578 + 900 + 400 + 4_329 + 4_319
    for stage, questions in (("confidence", 6_218 + 14_000), ("test_confidence", tests)):
        work = works[stage]
        assert (work.num_units, work.samples) == (questions, 10 * questions)
        assert work.prompt_tokens == questions * (576 + 40) and work.response_tokens == 10 * questions * 6
    assert works["evaluate"].num_units == 5 * tests
    rows = (6_218 + 14_000) // 128 * 128
    assert works["sft"].num_units == rows // 128
    assert works["sft"].training_tokens == rows * (576 + 40 + 6)
    # Forward and backward through frozen weights; SFT computes forward twice, CA-DPO the reference's.
    assert works["sft"].passes == 3 and works["ca_dpo"].passes == 3
    full = works_of(load_config([*PAPER, "--training.sft.lora", "null"]))
    assert full["sft"].passes == 4  # gradients of the weights besides


@pytest.mark.parametrize("more", [[], ["--config", "jobs/configs/paper_llava15_13b.yaml"]], ids=["7b", "13b"])
def test_the_shipped_sizes_are_those_of_a_lab(more):
    config = load_config([*PAPER, *more])
    works = works_of(config)
    assert works["questions"].num_units == 20_000 + 6_218 + 20_000
    assert works["confidence"].num_units == works["questions"].num_units + 14_000  # about 60,000 in all
    plans = [plan_stage(work, find_rate(work, config, None), config) for work in works.values()]
    assert sum(one.gpu_hours for one in plans) < 60 and warn(plans, config) == []


def test_finished_stages_replace_assumed_counts():
    config = load_config(PAPER)
    counts = {"questions": {"train": 70}, "benchmarks": {"test": 30}, "unanswerable": {"kept": 5}}
    works = works_of(config, {stage: {"counts": of_stage} for stage, of_stage in counts.items()})
    assert works["confidence"].num_units == 75 and works["test_confidence"].num_units == 30
    assert works["evaluate"].num_units == 150
    assert works["confidence"].source == "counted"


def test_workload_of_the_demo():
    works = works_of(load_config(["--config", "jobs/configs/demo.yaml"]))
    assert (works["questions"].num_units, works["benchmarks"].num_units) == (6_000, 2 * 1_000)
    assert (works["confidence"].num_units, works["test_confidence"].num_units) == (6_000 + 2_000, 2_000)
    assert (works["align"].num_units, works["base"].num_units) == (16_000 // 64, 32_000 // 32)
    assert works["sft"].num_units == 2 * (8_000 // 32)


def scenario(**values) -> Scenario:
    defaults = {"num_rows": 40, "rows_per_block": 10, "row_seconds": (0.1,), "start_s": 1.0, "tail_s": 0.5}
    return Scenario(**defaults | {"judging_s": 0.0, "judging_tasks": 0, "dispatches_per_s": 1e9} | values)


@pytest.mark.parametrize(
    ("engines", "wall"),
    [(1, 1 + 4 + 0.5), (2, 1 + 2 + 0.5), (3, 1 + 2 + 0.5), (4, 1 + 1 + 0.5), (100, 1 + 1 + 0.5)],
)
def test_schedule_of_four_equal_blocks(engines, wall):
    assert simulate(scenario(), engines).wall_s == pytest.approx(wall)


@pytest.mark.parametrize(("engines", "judging"), [(1, 6.0), (2, 3.0), (3, 2.0), (4, 2.0), (100, 2.0)])
def test_judging_is_spread_over_as_many_cpus_as_it_has_tasks(engines, judging):
    without = simulate(scenario(), engines).wall_s
    assert simulate(scenario(judging_s=6.0, judging_tasks=3), engines).wall_s == pytest.approx(without + judging)


def test_the_last_block_may_be_smaller():
    assert simulate(scenario(num_rows=31), 4).wall_s == pytest.approx(2.5)
    assert simulate(scenario(num_rows=31), 1).wall_s == pytest.approx(1 + 3.1 + 0.5)


def test_what_binds_is_named():
    assert simulate(scenario(num_rows=10_000), 4).bound == "engines"
    assert simulate(scenario(tail_s=100), 4).bound == "driver's tail"
    assert simulate(scenario(start_s=100), 4).bound == "start of the engines"
    assert simulate(scenario(judging_s=100, judging_tasks=9), 4).bound == "judging"
    slow = simulate(scenario(num_rows=10_000, dispatches_per_s=2), 1000)
    assert slow.bound == "dispatch by one thread" and slow.wall_s >= 1000 / 2
    assert simulate(scenario(num_rows=20, row_seconds=(1.0,), tail_s=0.0), 10).bound == "uneven last blocks"


def test_wall_time_falls_with_engines_until_something_else_binds():
    one = scenario(num_rows=1_000_000, rows_per_block=100, row_seconds=(0.1, 0.05, 0.2), start_s=60, tail_s=20)
    outcomes = [simulate(one, engines) for engines in (1, 10, 100, 1000)]
    walls = [outcome.wall_s for outcome in outcomes]
    assert walls == sorted(walls, reverse=True) and walls[0] / walls[1] > 9
    assert all(outcome.wall_s > 80 for outcome in outcomes) and largest_useful(outcomes) == 1000
    assert all(0 < outcome.busy_rate <= 1 for outcome in outcomes)
    stuck = [simulate(scenario(), engines) for engines in (1, 2, 4, 8, 16)]
    assert largest_useful(stuck) == 4


def test_smaller_blocks_keep_many_engines_busy():
    rows = best_rows_per_block(100_000, 1000, 256)
    assert rows == 12 and best_rows_per_block(10_000_000, 8, 256) == 256 and best_rows_per_block(3, 1000, 256) == 1
    coarse = simulate(scenario(num_rows=100_000, rows_per_block=256), 1000)
    fine = simulate(scenario(num_rows=100_000, rows_per_block=rows), 1000)
    assert fine.wall_s < 0.6 * coarse.wall_s


def test_rates_are_measured_where_there_is_a_run_and_assumed_elsewhere():
    config = load_config(PAPER)
    work = works_of(config)["confidence"]
    assumed = find_rate(work, config, None)
    assert assumed.source == ASSUMED
    flops = 2 * 616 * 7_063_427_072 / (312e12 * 0.4)
    assert assumed.unit_s == pytest.approx(flops + 60 / 2500)
    measured = find_rate(work, config, manifest("confidence", config, [[10, 2.0], [10, 4.0]]))
    assert measured.unit_s == pytest.approx(0.3) and measured.row_seconds == (0.2, 0.4)
    assert measured.start_s == pytest.approx(30 - 3) and "confidence-1" in measured.source
    assert measured.tail_s == pytest.approx(5.0 * work.num_units / 100)
    finished = manifest("confidence", config, [[10, 2.0], [10, 4.0]])
    judging = {"parts": 2, "done": 100, "first_report_s": 40.0, "tail_s": 1.0, "blocks": [[60, 3.0], [40, 3.0]]}
    finished["timing"]["questions judged"] = judging
    judged = find_rate(work, config, finished)
    assert (judged.unit_s, judged.row_seconds) == (measured.unit_s, measured.row_seconds)
    finished["timing"]["questions"]["tail_s"] = 9.5
    assert find_rate(work, config, finished).start_s == pytest.approx(30 - 3 + 9.5 - 1.0 - 6.0)
    assert judged.judging_s == pytest.approx(0.06 * work.num_units)
    assert judged.tail_s == pytest.approx(0.01 * work.num_units)
    # A run without a second block of any engine has measured nothing.
    assert find_rate(work, config, manifest("confidence", config, [])).source == ASSUMED


def test_runs_on_another_model_are_not_evidence(tmp_path):
    import json

    config = load_config([*PAPER, "--output_dir", str(tmp_path)])
    other = load_config([*PAPER, "--base_model.path", "someone/else"])
    for one, name in ((config, "confidence-a"), (other, "evaluate-b")):
        (tmp_path / "artifacts" / name).mkdir(parents=True)
        text = json.dumps(manifest(name.split("-")[0], one, [[10, 2.0]]))
        (tmp_path / "artifacts" / name / "manifest.json").write_text(text)
    assert measured_manifests(Store(tmp_path / "artifacts"), config).keys() == {"confidence"}


def test_more_nodes_help_until_the_batch_is_spread():
    config = load_config(PAPER)
    works = works_of(config)
    rates = {name: find_rate(work, config, None) for name, work in works.items()}
    ca_dpo = [plan_stage(works["ca_dpo"], rates["ca_dpo"], config, workers).wall_s for workers in (8, 64, 1000)]
    assert ca_dpo[0] > 5 * ca_dpo[1] and ca_dpo[1] == ca_dpo[2]
    table = what_if(works, rates, config)
    assert [row[0] for row in table] == config.plan.nodes
    walls = [wall for _, wall, _ in table]
    assert walls == sorted(walls, reverse=True) and all(math.isfinite(wall) for wall in walls)


def warnings_of(*options: str) -> str:
    config = load_config([*PAPER, *options])
    works = works_of(config)
    return "\n".join(warn([plan_stage(work, find_rate(work, config, None), config) for work in works.values()], config))


def test_warnings_name_what_does_not_scale():
    assert warnings_of() == ""  # the shipped sizes
    whole = "[{dataset: oven, split: entity_train, root: x}]"
    text = warnings_of("--corpora", whole)
    assert "data: the driver holds about" in text and "confidence: the driver holds" not in text
    assert "lower the corpora's `sample`" in text and "global batch" not in text
    small = ["--corpora", "[{dataset: scienceqa, split: train, root: x}]", "--plan.nodes", "[1, 2]"]
    assert "the driver holds" not in warnings_of(*small)
    many = warnings_of(*small, "--engine.num_engines", "1000")
    assert "confidence: " in many and "lower engine.batch_size from 512 to" in many
    assert "images a second, one prefix of S3 serves 5,500" in many
    assert "object store" in warnings_of(*small, "--engine.batch_size", "20000")
    assert "object store" not in warnings_of(*small, "--ray.object_store_memory_bytes", "30000000000")
    # Eight engines with eight blocks of 128 images each, 3 x 336 x 336 numbers of 4 bytes an image.
    store = warnings_of(*small, "--ray.object_store_memory_bytes", "400000000")
    assert "confidence: blocks in flight take about 11.1 GB of a node's object store of 0.4 GB" in store
    assert "raise ray.object_store_memory_bytes" in store
    assert "the driver alone works for" in warnings_of(*small, "--plan.driver_rows_per_s", "1")


def test_stage_names_are_those_of_the_pipeline():
    for options in (PAPER, ["--config", "jobs/configs/demo.yaml"]):
        config = load_config(options)
        stages = build_stages(config)
        assert build_work(stages, config, {}).keys() == stages.keys()
        assert all(isinstance(stage, Stage) for stage in stages.values())
