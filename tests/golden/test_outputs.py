"""The output of every stage on small input: it changes with a version, or not at all.

An artifact is found again by its fingerprint, which is made of settings, inputs and versions and not of code. So whoever
changes what a stage computes raises a version; else old results would be taken for new ones.
"""

import inspect
from pathlib import Path

import pytest
from golden.cases import CASES, DEMO
from golden.golden_output import Golden, golden, is_announced, read_golden, write_golden

from inbol_ray.config.load import load_config
from inbol_ray.pipeline import build_stages
from inbol_ray.runtime.stage import Stage

FILE = Path(__file__).with_name("outputs.json")
REWRITE = "python -m pytest tests/golden --rewrite-golden"


def explain(name: str, stage: Stage, kept: Golden | None, found: Golden) -> str:
    """Why `found` is not `kept`, and what to do; empty where they are the same."""
    if kept == found:
        return ""
    if kept is None:
        return f"there is no golden output of {name!r} yet; write it with `{REWRITE}`"
    parts = kept.changed_parts(found)
    if is_announced(kept, found):
        what = f"a version was raised, and these parts of the output are others: {parts or 'none'}"
        return f"{name}: {what}. Write them to {FILE.name} with `{REWRITE}`"
    if not parts:
        return f"{name}: a version was lowered from {kept.versions} to {found.versions}; finished work has the old one"
    module = Path(inspect.getfile(stage.function)).relative_to(Path.cwd())
    own = [version.upper() for version in found.versions if version.endswith("_version")]
    lines = [f"results of stage {name!r} changed, but its versions did not ({found.versions}):"]
    for part in parts:
        before, after = (one.parts.get(part, {}).get("begins", "nothing") for one in (kept, found))
        lines.append(f"  {part}\n    was {before}\n    is  {after}" if before != after else f"  {part}, further on")
    lines.append(
        "Work that users have finished would be taken for this. If the change is not meant, undo it. If it is, raise "
        f"`version` of the stage in {module}" + (f", or that of what changed ({', '.join(own)})" if own else "") + ","
    )
    lines.append(
        f"then write the new output with `{REWRITE}`, which refuses until then. If only what the test feeds in is other, "
        "raise `input` of its case in tests/golden/cases.py instead."
    )
    return "\n".join(lines)


@pytest.mark.parametrize("name", CASES)
def test_results_change_with_a_version_only(name, request, tmp_path, monkeypatch):
    case = CASES[name]
    config = case.config(tmp_path)
    stage = build_stages(config)[name]
    found = golden(stage, case.run(config, tmp_path, monkeypatch), tmp_path, case.input)
    kept = read_golden(FILE)
    if request.config.getoption("--rewrite-golden") and is_announced(kept.get(name), found):
        kept[name] = found
        write_golden(FILE, {name: kept[name] for name in kept if name in CASES})
    if problem := explain(name, stage, kept.get(name), found):
        pytest.fail(problem, pytrace=False)


def test_every_stage_of_the_demo_has_a_case():
    covered = {name: case for case in CASES.values() for name in (case.stage, *case.covers)}
    stages = build_stages(load_config(["--config", DEMO]))
    assert covered.keys() - {"judge"} == stages.keys()
    for name, stage in stages.items():
        # A case speaks for other stages where these are the same function with the same version.
        own = stages[covered[name].stage]
        assert (stage.function, stage.version) == (own.function, own.version), name
    assert read_golden(FILE).keys() == CASES.keys()


def made_up(output: str, **versions: int) -> Golden:
    return Golden({"version": 1, "input": 1} | versions, {"rows": {"sha256": output, "begins": output}})


@pytest.mark.parametrize(
    ("found", "allowed"),
    [
        (made_up("a"), True),
        (made_up("b"), False),
        (made_up("b", version=2), True),
        (made_up("b", prompts_version=2), True),
        (made_up("b", input=2), True),
        (made_up("a", version=2), True),
        (made_up("a", version=0), False),
        (made_up("b", version=2, input=0), False),
    ],
)
def test_other_output_needs_a_higher_version(found, allowed):
    assert is_announced(made_up("a"), found) is allowed
    assert is_announced(None, found)


def test_the_message_says_what_changed_where_and_what_to_do():
    stage = build_stages(load_config(["--config", DEMO]))["data"]
    kept = made_up("a", prompts_version=1)
    assert explain("data", stage, kept, kept) == ""
    message = explain("data", stage, kept, made_up("b", prompts_version=1))
    for words in ("results of stage 'data' changed", "was a", "is  b", "inbol_ray/datagen/build.py", "PROMPTS_VERSION"):
        assert words in message
    assert "was lowered" in explain("data", stage, kept, made_up("a", prompts_version=0))
    assert "was raised" in explain("data", stage, kept, made_up("b", prompts_version=2))
    assert "there is no golden output" in explain("data", stage, None, kept)
