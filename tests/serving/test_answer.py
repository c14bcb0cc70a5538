"""Decisions on exact replies (a scripted engine), the dial's settings, keys, and the files of `serve/`."""

import asyncio
import math
from pathlib import Path

import pytest
import yaml

from inbol_ray.errors import ConfigError
from inbol_ray.sampling.chat_engine import Piece, ReplyOptions
from inbol_ray.serving.answer import Refusal, Rule, Text, Work, answer
from inbol_ray.serving.dial import ModelDial
from inbol_ray.serving.dialogue import Dialogue
from inbol_ray.serving.keys import KEYS_VARIABLE, KeyRing, is_loopback, load_keys
from inbol_ray.serving.response import ChunkWriter, completion
from inbol_ray.serving.schema import DialOptions, RequestError
from tests.serving.conftest import invented_calibration

ROOT = Path(__file__).parents[2]


class ScriptedEngine:
    """Says `words`, a piece each, and counts what was drawn of them."""

    def __init__(self, words: list[str], confidence: float, samples: list[str] = ()) -> None:
        self.words, self.confidence, self.samples = words, confidence, list(samples)
        self.num_drawn, self.forced = 0, None

    async def write(self, prompt, options, *, stream):
        self.forced = options.force_answer
        words = self.words if stream else ["".join(self.words)]
        for number, word in enumerate(words, start=1):
            self.num_drawn += 1
            done = "stop" if number == len(words) else None
            yield Piece(word, self.confidence, self.words[0] in (" I", " Sorry"), 7, number, done)

    async def complete(self, prompt, options):
        return [piece async for piece in self.write(prompt, options, stream=False)][-1]

    async def sample(self, prompt, num_samples, max_tokens):
        return self.samples


def run(engine, rule: Rule, stream: bool = False) -> list:
    async def collect():
        work = Work("USER: What? ASSISTANT:", (), ReplyOptions(8), rule)
        return [event async for event in answer(engine, (), work, stream=stream)]

    return asyncio.run(collect())


@pytest.mark.parametrize("stream", [False, True])
def test_below_the_threshold_nothing_is_said_and_the_rest_is_not_written(stream):
    engine = ScriptedEngine([" red", " ring", " left"], 0.4)
    events = run(engine, Rule(threshold=0.5), stream)
    assert [type(event) for event in events[:-1]] == [Refusal]
    assert events[-1].refused and events[-1].decided_by == "dial" and engine.num_drawn == 1 and engine.forced


@pytest.mark.parametrize("stream", [False, True])
def test_at_the_threshold_the_answer_is_given(stream):
    events = run(ScriptedEngine([" red", " ring"], 0.5), Rule(threshold=0.5), stream)
    assert "".join(event.text for event in events[:-1]) == "red ring" and not events[-1].refused
    assert len(events) == (3 if stream else 2)


def test_an_unreachable_threshold_refuses_whatever_the_confidence():
    assert run(ScriptedEngine([" red"], 1.0), Rule(threshold=math.inf))[-1].refused


def test_without_a_dial_the_models_own_words_decide():
    refused = run(ScriptedEngine([" I", " don't", " know."], 0.9), Rule(), stream=True)
    assert refused[0] == Refusal("I don't know.") and refused[-1].decided_by == "model"
    answered = run(ScriptedEngine([" I", " see", " red"], 0.1), Rule(), stream=True)
    assert answered[0] == Text("I see red") and not answered[-1].refused


def test_a_refusal_that_was_streamed_is_still_marked():
    events = run(ScriptedEngine([" We", " cannot", " tell."], 0.9), Rule(threshold=0.1), stream=True)
    assert events[-2] == Refusal("We cannot tell.", streamed=True) and events[-1].refused
    lines = [line for event in events for line in ChunkWriter("m", False).write(event, Rule())]
    assert "".join(lines).count('"content"') == 3 and '"refusal": "We cannot tell."' in lines[-2]


def test_agreement_counts_samples_that_say_the_same():
    samples = [" Red.", "red", " the red", "blue", "I don't know.", "red", "green", "red"]
    events = run(ScriptedEngine([" red"], 0.9, samples), Rule("agreement", 0.6, None, 8))
    assert events[-1].confidence == 5 / 8 and events[0] == Text("red")
    assert run(ScriptedEngine([" red"], 0.9, samples), Rule("agreement", 0.7, None, 8))[-1].refused


def test_an_unreachable_threshold_is_null_in_json():
    events = run(ScriptedEngine([" red"], 1.0), Rule(threshold=math.inf, target_risk=0.01))
    assert completion("m", events, Rule(threshold=math.inf, target_risk=0.01))["inbol"]["threshold"] is None


@pytest.fixture
def calibration():
    return invented_calibration("d")


def test_a_request_overrules_the_operators_dial(calibration):
    dial = ModelDial(calibration, target_risk=0.2)
    rule = dial.rule(None, 16)
    assert rule.target_risk == 0.2 and 0.6 <= rule.threshold < 0.75
    assert dial.rule(DialOptions(threshold=0.3), 16) == Rule("first_token", 0.3)
    assert dial.rule(DialOptions(target_risk=0.1), 16).threshold > rule.threshold
    assert dial.rule(DialOptions(signal="agreement", target_risk=0.3), 16).num_samples == 4


def test_a_dial_that_cannot_hold_is_refused(calibration):
    with pytest.raises(RequestError, match="no calibration"):
        ModelDial().rule(DialOptions(target_risk=0.1), 16)
    with pytest.raises(RequestError, match="calibrated with 4 samples"):
        ModelDial(calibration).rule(DialOptions(signal="agreement", target_risk=0.3, num_samples=8), 16)
    with pytest.raises(RequestError, match="16 at most"):
        ModelDial().rule(DialOptions(signal="agreement", num_samples=17), 16)


def test_a_target_risk_holds_for_the_decoding_it_was_calibrated_with(calibration):
    dial, single = ModelDial(calibration), Dialogue([("What?", 1, None)], None, ["data:"])
    for max_tokens in (None, 99):
        assert dial.hold(ReplyOptions(99), max_tokens, single).max_tokens == 16
    for options, asked in (
        (ReplyOptions(16, temperature=0.5), None),
        (ReplyOptions(16, stop=("a",)), None),
        (ReplyOptions(4), 4),
    ):
        with pytest.raises(RequestError, match="greedy replies of up to 16"):
            dial.hold(options, asked, single)


def test_keys_come_from_environment_and_file(monkeypatch, tmp_path):
    file = tmp_path / "keys"
    file.write_text("# ours\nfile-key-0123456789\n\n")
    monkeypatch.setenv(KEYS_VARIABLE, "first-key-0123456789, second-key-0123456789")
    ring = load_keys(str(file))
    for key in ("first-key-0123456789", "second-key-0123456789", "file-key-0123456789"):
        assert ring.accepts(f"Bearer {key}", "10.0.0.1")
    assert not any(ring.accepts(header, "127.0.0.1") for header in (None, "", "Bearer ", "Bearer # ours", "Bearer x"))
    monkeypatch.setenv(KEYS_VARIABLE, "short")
    with pytest.raises(ConfigError, match="less than 16") as raised:
        load_keys(None)
    assert "short" not in str(raised.value)


def test_without_keys_only_this_machine_is_served():
    assert KeyRing([]).accepts(None, "127.0.0.1") and KeyRing([]).accepts(None, "::ffff:127.0.0.1")
    assert not KeyRing([]).accepts(None, "192.168.1.5") and not KeyRing([]).accepts(None, None)
    assert is_loopback("localhost") and not is_loopback("0.0.0.0")


def test_an_open_address_without_keys_and_an_untrained_model_are_config_errors(monkeypatch, tmp_path):
    from inbol_ray.config.load import load_config
    from inbol_ray.errors import MissingInputError
    from inbol_ray.serving.app import build, build_application

    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    demo = ["--config", str(ROOT / "jobs/configs/demo.yaml"), "--output_dir", str(tmp_path)]
    with pytest.raises(ConfigError, match="open to others"):
        build_application(load_config([*demo, "--serving.host", "0.0.0.0"]))
    with pytest.raises(ConfigError, match="a deployment needs API keys"):
        build({"config": demo[1], "output_dir": str(tmp_path)})
    with pytest.raises(MissingInputError, match="make demo"):
        build_application(load_config(demo))


def test_the_deployment_file_is_valid_and_its_options_are_known():
    from ray.serve.schema import ServeDeploySchema

    from inbol_ray.config.load import load_config
    from inbol_ray.serving.app import build

    deployment = ServeDeploySchema.model_validate(yaml.safe_load((ROOT / "serve/deployment.yaml").read_text()))
    application = deployment.applications[0]
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    options = dict(application.args)
    options["config"] = str(ROOT / options["config"])
    assert load_config([f"--{key}={value}" for key, value in options.items()]).serving.max_replicas == 4
    assert {d.name for d in application.deployments} == {"server"}
