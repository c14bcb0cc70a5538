import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inbol_ray.config.load import load_config, parse_job_args, render_help
from inbol_ray.errors import ConfigError

DEMO = "jobs/configs/demo.yaml"
PAPER = "jobs/configs/paper_llava15_7b.yaml"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path):
    under = {"seeds": DEMO, "validation": DEMO, "paper_llava15_13b": PAPER}.get(path.stem)
    base = ["--config", under] if under else []
    config = load_config([*base, "--config", str(path)])
    assert config.training or not config.corpora


def test_overrides_reach_into_tagged_unions_and_read_short_floats():
    config = load_config(["--config", DEMO, "--training.ca_dpo.beta", "0.25", "--training.sft.learning_rate=1e-5"])
    assert config.training["ca_dpo"].beta == 0.25 and config.training["sft"].learning_rate == 1e-5


def test_lists_are_replaced_whole():
    config = load_config(["--config", DEMO, "--evaluation.methods", "[original, sft]"])
    assert config.evaluation.methods == ["original", "sft"]


def test_later_files_win_and_sections_merge(tmp_path):
    over = tmp_path / "over.yaml"
    over.write_text("name: other\nsampling: {num_samples: 4}\n")
    config = load_config(["--config", DEMO, "--config", str(over), "--sampling.num_samples", "5"])
    assert (config.name, config.sampling.num_samples, config.seed) == ("other", 5, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "missing.yaml"], "missing.yaml: cannot read the configuration file"),
        ([], "no configuration"),
        (
            ["--config", DEMO, "--training.ca_dpo.betaa", "1"],
            "^training.ca_dpo.betaa: unknown key; found 1; did you mean 'beta'",
        ),
        (["--config", DEMO, "--sampling.num_samples", "0"], "sampling.num_samples: .*greater than 0; found 0"),
        (["--config", DEMO, "--seed", "many"], "seed: .*found 'many'"),
        (["--config", DEMO, "--classes.delta_known", "0.2"], "delta_unknown .* must be below delta_known"),
        (["--config", DEMO, "--training.ca_dpo.init_from", "nobody"], "init_from is 'nobody'; expected one of"),
        (["--config", DEMO, "--training.sft.init_from", "ca_dpo"], "round in a circle"),
        (["--config", DEMO, "--training.sft.global_batch_size", "7"], "multiple of num_workers"),
        (
            ["--config", DEMO, "--training.sft.lora", "{rank: 4}", "--training.sft.train_vision_tower", "true"],
            "train_vision_tower needs full fine-tuning",
        ),
        (["--config", DEMO, "--evaluation.methods", "[sft, dpo]"], "'dpo'"),
        (["--config", DEMO, "--engine.dtype", "[unclosed"], "not a YAML value"),
        (["stray"], "unexpected argument 'stray'"),
        (["--config", DEMO, "--seed"], "--seed needs a value"),
        (["--seed", "--config", DEMO], "--seed needs a value"),
        (
            ["--config", DEMO, "--training.ca_dp.beta", "1"],
            "training.ca_dp: `kind` is missing; .*did you mean 'ca_dpo'",
        ),
        (["--config", DEMO, "--training.ca_dpo.lora.rnk", "8"], "^training.ca_dpo.lora.rnk: .*found 8; .*'rank'"),
        (
            ["--config", DEMO, "--training.sft.lora", "{target_modules: '*.q_proj'}"],
            r"training.sft.*target_modules: .*\*.q_proj' is no regular expression: nothing to repeat",
        ),
        (["--config", DEMO, "--base_model.hidden_siz", "8"], "^base_model.hidden_siz: unknown key.*'hidden_size'"),
        (["--config", DEMO, "--base_model.kind", "foo"], "^base_model: .*'foo'.*'toyworld', 'checkpoint'"),
        (["--config", DEMO, "--evaluation.methods.0", "sft"], "evaluation.methods is a list, which is replaced whole"),
        (["--config", DEMO, "--evaluation.benchmarks", "[{}]"], "evaluation.benchmarks.0.dataset: missing"),
        (["--config", DEMO, "--name", "2026-13-45"], "not a YAML value"),
        (
            ["--config", DEMO, "--corpora", "[{dataset: own, split: a, root: b, limit: 5}]"],
            r"^corpora.0.limit: unknown key; found 5$",
        ),
        (["--config", DEMO, "--training.align.max_rows", "5"], r"^training.align.max_rows: unknown key; found 5$"),
        (
            ["--config", DEMO, "--corpora", "[{dataset: own, split: a, root: b, sample: 0}]"],
            "corpora.0.sample: .*greater than 0; found 0",
        ),
        (["--config", DEMO, "--balance.corpora", "equal"], "balance: .*set `classes` too, or .* corpora.*sample"),
        (
            ["--config", DEMO, "--balance.classes", "{known: 0.5, mixed: 0.5, unknown: 0.5}"],
            "balance.classes: .*sum to 1.5; they must sum to 1",
        ),
        (
            ["--config", DEMO, "--evaluation.in_domain_test", "{questions: 5}"],
            r"in_domain_test: unanswerable \(100\) must be below questions \(5\)",
        ),
        (["--config", "jobs"], "jobs: cannot read the configuration file"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        load_config(arguments)


def test_a_yaml_mistake_names_its_line(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: x\nseed: [1\n")
    with pytest.raises(ConfigError, match=r"bad.yaml, line \d+: not valid YAML"):
        load_config(["--config", str(path)])


def test_every_mistake_is_listed_and_hints_stay_in_the_section():
    with pytest.raises(ConfigError) as error:
        load_config(["--config", DEMO, "--sampling.num_sample", "3", "--unanswerable.num_sample", "3", "--seed", "x"])
    lines = dict(line.split(": ", 1) for line in str(error.value).splitlines())
    assert set(lines) == {"sampling.num_sample", "unanswerable.num_sample", "seed"}
    assert "'num_samples'" in lines["sampling.num_sample"] and "did you mean" not in lines["unanswerable.num_sample"]


@pytest.mark.parametrize("content", [b"name: \xff", b"- a list", b"name: 2026-13-45", b"name: !!python/object:os.x {}"])
def test_unreadable_yaml_is_a_config_error(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="bad.yaml"):
        load_config(["--config", str(path)])


def test_short_floats_in_files_and_options_before_files(tmp_path):
    over = tmp_path / "over.yaml"
    over.write_text("training: {sft: {learning_rate: 1e-5}}\nseed: 3\n")
    config = load_config(["--seed", "7", "--config", DEMO, "--config", str(over)])
    assert (config.training["sft"].learning_rate, config.seed) == (1e-5, 7)


def test_the_environment_is_not_read(monkeypatch):
    monkeypatch.setenv("SEED", "9")
    monkeypatch.setenv("seed", "9")
    assert load_config(["--config", DEMO]).seed == 0


def test_a_bad_configuration_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_job_args("A job.", ["--config", DEMO, "--sampling.num_samples", "0"])
    assert stop.value.code == 2 and capsys.readouterr().err.startswith("error: sampling.num_samples")


def test_help_shows_types_bounds_defaults_and_documentation():
    text = render_help("A job.")
    assert "--sampling.num_samples: int > 0 = 10" in text and "Responses a question, N." in text
    assert "--toyworld: section | null = null" in text and "--training.NAME.learning_rate: float > 0 (required)" in text
    assert "--engine.kv_cache_bytes: int > 0 | null = null" in text and "  corpora[].split: str (required)" in text
    assert "--scoring.judge.for: refusal | correctness | both" in text
    assert text.count("--training.NAME.learning_rate:") == 1


def test_help_wins_over_everything_else(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_job_args("A job.", ["--config", "missing.yaml", "--help"])
    assert not stop.value.code and capsys.readouterr().out.startswith("A job.")


def test_configuration_needs_no_ml_library():
    code = "import sys, inbol_ray.config.load; print([m for m in ('torch', 'ray', 'vllm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


WITHOUT_CONFIG = {"compare"}


@pytest.mark.parametrize(
    "job",
    sorted(path for path in (ROOT / "jobs").glob("*.py") if path.stem not in WITHOUT_CONFIG),
    ids=lambda path: path.stem,
)
def test_every_job_has_help_and_refuses_a_bad_config(job):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # also where the package is not installed
    options = {"capture_output": True, "text": True, "cwd": ROOT, "env": environment}
    helped = subprocess.run([sys.executable, job, "--help"], **options)
    assert helped.returncode == 0 and "--training" in helped.stdout
    refused = subprocess.run([sys.executable, job, "--config", "nowhere.yaml"], **options)
    assert refused.returncode == 2 and refused.stderr.startswith("error: nowhere.yaml")


@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("evaluation.models", "{sft: {checkpoint: x}}", "names of methods"),
        ("evaluation.models", "{m: {replies: y, refusal_instruction: true}}", "refusal_instruction has no effect"),
        ("evaluation.pairs", "[[sfft, vqav2]]", "'sfft' is no method or model"),
        ("evaluation.pairs", "[[sft, gqa]]", "no benchmark is 'gqa'"),
        ("evaluation.size", "7b", "no LLaVA-1.5"),
        (
            "evaluation",
            "{in_domain_test: {}, benchmarks: [{dataset: own, split: a, root: b, domain: out_of_domain}]}",
            "in_domain_test: no benchmark has",
        ),
        ("scoring.rules", "lenient", "scoring.rules"),
    ],
)
def test_an_evaluation_of_nothing_is_refused_at_once(option, value, match):
    with pytest.raises(ConfigError, match=match):
        load_config(["--config", DEMO, f"--{option}", value])


ENDPOINT = {"url": "http://127.0.0.1:8000/v1", "model": "m"}


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"url": "ftp://h/v1"}, "http or https"),
        ({"url": "https:///v1"}, "http or https"),
        ({"url": "http://h:x/v1"}, "http or https"),
        ({"url": "http://h/v1 "}, "http or https"),
        ({"url": "https://me:canary@h/v1"}, "holds credentials"),
        ({"url": "https://h/v1?key=canary"}, "holds credentials"),
        ({"url": "https://h/v1/chat/completions"}, "base URL, without"),
        ({"api_key_env": "sk-canary"}, "name of an environment variable"),
        ({"api_key": "canary"}, "a key does not belong"),
        ({"extra_body": {"temperature": 1}}, "extra_body: .'temperature'. are set"),
        ({"price_per_million_input_tokens": 1}, "both|neither"),
    ],
)
def test_an_endpoint_is_well_formed_and_a_secret_is_not_repeated(fields, match):
    value = json.dumps({"far": {"endpoint": ENDPOINT | fields}})
    with pytest.raises(ConfigError, match=f"^evaluation.models.far.endpoint: .*({match})") as error:
        load_config(["--config", DEMO, "--evaluation.models", value])
    assert "canary" not in str(error.value)


def test_a_model_has_exactly_one_source():
    both = {"checkpoint": "x", "endpoint": ENDPOINT}
    for model, found in (
        ({}, "none"),
        (both, "checkpoint and endpoint"),
        (both | {"replies": "y"}, "checkpoint and endpoint and replies"),
        ({"endpoint": ENDPOINT, "replies": "y"}, "endpoint and replies"),
    ):
        expected = f"evaluation.models.far: a model needs exactly one of checkpoint, endpoint, replies; found {found}$"
        with pytest.raises(ConfigError, match=expected):
            load_config(["--config", DEMO, "--evaluation.models", json.dumps({"far": model})])


def test_outside_models_need_no_training():
    config = load_config(["--config", str(ROOT / "jobs" / "configs" / "evaluate_llava15.yaml")])
    assert config.training == {} and set(config.evaluation.models) == {"13b", "13b_prompt"}
