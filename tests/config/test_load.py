import subprocess
import sys
from pathlib import Path

import pytest

from inbol_ray.config.load import load_config, parse_job_args, render_help
from inbol_ray.errors import ConfigError

DEMO = "jobs/configs/demo.yaml"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path):
    base = ["--config", DEMO] if path.stem in ("seeds", "validation") else []
    assert load_config([*base, "--config", str(path)]).training


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
            "^training.ca_dpo.betaa: unknown key; did you mean 'beta'",
        ),
        (["--config", DEMO, "--sampling.num_samples", "0"], "sampling.num_samples: .*greater than 0; found 0"),
        (["--config", DEMO, "--seed", "many"], "seed: .*found 'many'"),
        (["--config", DEMO, "--classes.delta_known", "0.2"], "delta_unknown .* must be below delta_known"),
        (["--config", DEMO, "--training.ca_dpo.init_from", "nobody"], "init_from is 'nobody'; expected one of"),
        (["--config", DEMO, "--training.sft.init_from", "ca_dpo"], "round in a circle"),
        (["--config", DEMO, "--training.sft.global_batch_size", "7"], "multiple of num_workers"),
        (["--config", DEMO, "--evaluation.methods", "[sft, dpo]"], "'dpo'"),
        (["--config", DEMO, "--engine.dtype", "[unclosed"], "not a YAML value"),
        (["stray"], "unexpected argument 'stray'"),
        (["--config", DEMO, "--seed"], "--seed needs a value"),
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


def test_a_bad_configuration_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_job_args("A job.", ["--config", DEMO, "--sampling.num_samples", "0"])
    assert stop.value.code == 2 and capsys.readouterr().err.startswith("error: sampling.num_samples")


def test_help_shows_the_documentation_of_fields():
    text = render_help("A job.")
    assert "--sampling.num_samples: int = 10" in text and "Responses a question, N." in text


def test_configuration_needs_no_ml_library():
    code = "import sys, inbol_ray.config.load; print([m for m in ('torch', 'ray', 'vllm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("job", sorted((ROOT / "jobs").glob("*.py")), ids=lambda path: path.stem)
def test_every_job_has_help_and_refuses_a_bad_config(job):
    helped = subprocess.run([sys.executable, job, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert helped.returncode == 0 and "--training" in helped.stdout
    refused = subprocess.run(
        [sys.executable, job, "--config", "nowhere.yaml"], capture_output=True, text=True, cwd=ROOT
    )
    assert refused.returncode == 2 and refused.stderr.startswith("error: nowhere.yaml")
