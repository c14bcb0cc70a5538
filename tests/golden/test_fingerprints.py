"""The fingerprint of every stage of every shipped configuration: it changes on purpose, or not at all.

A changed fingerprint makes finished work stale: whoever upgrades samples, trains and evaluates again.
"""

import json
from copy import copy
from pathlib import Path

import pytest
from pydantic import create_model

from inbol_ray.config.load import load_config
from inbol_ray.config.machines import EngineConfig, RayConfig
from inbol_ray.config.plan import PlanConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.serving import ServingConfig
from inbol_ray.pipeline import build_stages
from inbol_ray.runtime.stage import Stage

CONFIGS = Path("jobs/configs")
FILE = Path(__file__).with_name("fingerprints.json")
REWRITE = "python -m pytest tests/golden --rewrite-golden"
BELOW = {"seeds": "demo", "validation": "demo", "paper_llava15_13b": "paper_llava15_7b"}
"""What a configuration is laid on top of, as its first line says."""
SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def stages_of(name: str, *options: str) -> dict[str, Stage]:
    files = [name] if name not in BELOW else [BELOW[name], name]
    return build_stages(load_config([f"--config={CONFIGS}/{file}.yaml" for file in files] + list(options)))


def fingerprints(name: str, *options: str) -> dict[str, str]:
    return {stage.name: stage.fingerprint for stage in stages_of(name, *options).values()}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names of the stages that are not the same in both, those of `after` first."""
    return [name for name in {**after, **before} if before.get(name) != after.get(name)]


def readers(stages: dict[str, Stage], name: str) -> set[str]:
    """The stage and all that read from it, directly or not."""
    found = {name}
    for stage in stages.values():  # each comes after what it reads
        if any(source.name in found for source in stage.inputs.values()):
            found.add(stage.name)
    return found


def test_layered_configurations_are_those_that_say_so():
    layered = {path.stem for path in CONFIGS.glob("*.yaml") if path.read_text().startswith("# On top of")}
    assert layered == BELOW.keys()
    for name, below in BELOW.items():
        assert (CONFIGS / f"{name}.yaml").read_text().startswith(f"# On top of {below}.yaml")


def test_fingerprints_change_on_purpose_only(request):
    found = {name: fingerprints(name) for name in SHIPPED}
    if request.config.getoption("--rewrite-golden"):
        FILE.write_text(json.dumps(found, indent=1) + "\n")
    expected = json.loads(FILE.read_text())
    lines = [
        f"  {name}: {', '.join(stages)}"
        for name in sorted(expected.keys() | found.keys())
        if (stages := changed(expected.get(name, {}), found.get(name, {})))
    ]
    if lines:
        pytest.fail(
            "The fingerprints of these stages changed, by configuration:\n"
            + "\n".join(lines)
            + "\nSo the finished work of users becomes stale: after an upgrade these stages are computed again. If "
            "their results do change, that is right. If not, keep the fingerprint: mark a setting that changes no "
            "result as `RunOnly`, or leave it out of the stage's settings.\nWhere it is on purpose, rewrite "
            f"{FILE.name} with `{REWRITE}` and say in the change why.",
            pytrace=False,
        )


def test_the_message_names_stages_that_changed_came_or_went():
    before = {"data": "a", "sft": "b", "old": "c"}
    assert changed(before, {"data": "a", "sft": "x", "new": "d"}) == ["sft", "new", "old"]


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(
    "option",
    [
        "ray.num_cpus=9",
        "ray.nodes_may_join=true",
        "plan.node_cpus=17",
        "engine.num_engines=5",
        "engine.batch_size=100",
        "output_dir=elsewhere",
        "seeds=[7, 8]",
        "serving={models: {base: {method: original}}, max_body_bytes: 1000000}",
    ],
)
def test_where_and_how_a_run_computes_changes_no_fingerprint(name, option):
    if option.startswith("serving") and name == "evaluate_endpoint":
        option = "serving=null"  # its server would need a checkpoint
    assert fingerprints(name, f"--{option}") == fingerprints(name)


@pytest.mark.parametrize(
    ("place", "section", "field"),
    [
        ("serving", ServingConfig, "max_body_bytes"),
        ("ray", RayConfig, "num_cpus"),
        ("plan", PlanConfig, "question_tokens"),
        ("engine", EngineConfig, "batch_size"),
    ],
)
def test_a_release_with_another_default_changes_no_fingerprint(place, section, field, monkeypatch):
    """What was wrong once: another default of `serving.max_body_bytes` made GPU-weeks of sampling stale."""
    other = copy(section.model_fields[field])
    other.default = 12_345
    newer = create_model(section.__name__, __base__=section, **{field: (other.annotation, other)})
    in_whole = (newer | None, None) if place == "serving" else (newer, newer())
    release = create_model("PipelineConfig", __base__=PipelineConfig, **{place: in_whole})
    before = fingerprints("demo")
    monkeypatch.setattr("inbol_ray.config.load.PipelineConfig", release)
    config = load_config(["--config", f"{CONFIGS}/demo.yaml"])
    assert getattr(getattr(config, place), field) == 12_345
    assert {stage.name: stage.fingerprint for stage in build_stages(config).values()} == before


def test_the_number_of_samples_makes_confidence_and_what_reads_it_stale_and_nothing_else():
    one, other = stages_of("demo"), stages_of("demo", "--sampling.num_samples", "12")
    stale = {name for name in one if one[name].fingerprint != other[name].fingerprint}
    assert stale == readers(one, "confidence") | readers(one, "test_confidence")
    assert "unanswerable" not in stale and "base" not in stale and {"data", "sft", "ca_dpo", "evaluate"} <= stale
