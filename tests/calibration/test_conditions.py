"""A target risk holds for requests that are asked as calibration asked, and for no others."""

import asyncio
import base64
import io
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from stage_context import stage_context

from inbol_ray.calibration.calibration_file import Calibration, write_calibration
from inbol_ray.calibration.conditions import current_conditions, differences
from inbol_ray.calibration.signals import SIGNAL, _requests
from inbol_ray.calibration.stage import calibrate
from inbol_ray.config.load import load_config
from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.model import SYSTEM_TEXTS, PromptConfig
from inbol_ray.errors import ConfigError
from inbol_ray.method.prompts import render_question
from inbol_ray.rows import Question
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.serving.answer import Work
from inbol_ray.serving.app import build_application
from inbol_ray.serving.dial import ModelDial, make_dial
from inbol_ray.serving.image_url import ImageSource
from inbol_ray.serving.replica import Offer, Replica
from inbol_ray.serving.schema import ChatRequest, RequestError
from tests.serving.conftest import invented_calibration

ROOT = Path(__file__).parents[2]
DEMO, PAPER = (str(ROOT / "jobs" / "configs" / f"{name}.yaml") for name in ("demo", "paper_llava15_7b"))
BARE = PromptConfig(answer_suffix=False)
QUESTIONS = [
    Question("vqav2:s:1", "vqav2", "s", ["x.png"], "What color is it?", "open"),
    Question("gqa:s:1", "gqa", "s", ["x.png"], "Is it a </s>ring<image>?  ", "open"),
    Question("scienceqa:s:1", "scienceqa", "s", ["x.png"], "Which?", "mc", choices=["cat", "dog"], gold_index=0),
    Question("own:s:1", "own", "s", ["x.png"], "Which?", "mc", choices=["b", "c", "d"], gold_index=0, hint="A. Bee"),
]


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def ask(text: str, *, picture: str | None = None, system: str | None = None, before: tuple = (), **fields) -> dict:
    content = [{"type": "text", "text": text}]
    if picture:
        content.append({"type": "image_url", "image_url": {"url": picture}})
    messages = [{"role": "system", "content": system}] if system is not None else []
    return {"messages": [*messages, *before, {"role": "user", "content": content}], **fields}


def work_of(body: dict, dial: ModelDial, config) -> Work:
    """What a replica with this dial hands to its engine; it has no engine here."""
    replica = SimpleNamespace(
        _config=config.serving,
        _dials={"m": dial},
        _offers={"m": Offer("p", None, dial.calibration)},
        _images=ImageSource([], config.serving.max_body_bytes),
    )
    return asyncio.run(Replica._work(replica, "m", ChatRequest.model_validate(body)))


@pytest.mark.parametrize("system", [None, "vicuna_v1"])
@pytest.mark.parametrize("from_calibration", [False, True])
def test_under_a_target_risk_the_paper_configuration_serves_the_prompts_that_it_calibrates_with(
    system, from_calibration, tmp_path
):
    """Byte for byte, free questions and choices; once as the configuration sets it, once as the calibration says."""
    config = load_config(["--config", PAPER, *([f"--prompts.system={system}"] if system else [])])
    conditions = current_conditions(config.prompts, config.engine)
    asked = [("calibration", "in_domain", question) for question in QUESTIONS]
    calibrated = _requests(
        stage_context(tmp_path, config, "signals"), asked, {"calibration": ["ca_dpo"]}, {"ca_dpo": "p"}
    )
    calibration = invented_calibration("d").model_copy(update={"conditions": conditions})
    model = config.serving.models["ca_dpo"]
    assert config.prompts.answer_suffix and model.answer_suffix
    if from_calibration:
        model = model.model_copy(update={"answer_suffix": None})
    dial = make_dial(model, calibration, conditions)
    for question, request in zip(QUESTIONS, calibrated, strict=True):
        typed = render_question(question, BARE)  # a user knows of no instruction
        work = work_of(ask(typed, picture=picture(), inbol={"target_risk": 0.3}), dial, config)
        assert work.prompt == request["prompt"] and work.prompt.count("Answer ") == 1
        assert work.rule.target_risk == 0.3 and work.options.max_tokens == calibration.max_tokens


def test_a_client_that_writes_the_instruction_itself_does_not_get_it_twice():
    config = load_config(["--config", PAPER])
    dial = make_dial(config.serving.models["ca_dpo"], None, current_conditions(config.prompts, config.engine))
    text = "What is it?\nAnswer the question using a single word or phrase."
    assert work_of(ask(text), dial, config).prompt == f"USER: {text} ASSISTANT:"
    assert work_of(ask("What is it?"), dial, config).prompt == f"USER: {text} ASSISTANT:"


def test_each_difference_is_named_with_its_remedy():
    calibrated = current_conditions(BARE, EngineConfig())
    assert list(differences(calibrated, calibrated)) == []
    changes = {
        "asked without the answer suffix, this server asks with": {"prompts": PromptConfig()},
        "prompts.system": {"prompts": BARE.model_copy(update={"system": "Be brief."})},
        "prompts_version 2, this server has 3": {"prompts_version": 3},
        "layout": {"layout": "Q: {question} A:"},
        "refusals_version": {"refusals_version": 9},
        "images_version": {"images_version": 1},
        "engine.dtype float32, this server has bfloat16": {"engine": calibrated.engine | {"dtype": "bfloat16"}},
        "engine.quantization None, this server has fp8": {"engine": calibrated.engine | {"quantization": "fp8"}},
    }
    for words, change in changes.items():
        [said] = differences(calibrated, calibrated.model_copy(update=change))
        assert words in said and ": " in said


TURNS = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})
OTHER_FORMS = {
    "single questions": ask("What?", before=TURNS),
    "system message": ask("What?", picture=picture(), system="Be brief."),
    "about 1 image": ask("What?"),
}


@pytest.mark.parametrize("words", OTHER_FORMS)
def test_a_request_of_another_form_gets_no_target_risk_but_a_threshold(words):
    config = load_config(["--config", DEMO])
    conditions = current_conditions(config.prompts, config.engine)
    dial = make_dial(config.serving.models["ca_dpo"], invented_calibration("d"), conditions)
    body = OTHER_FORMS[words]
    with pytest.raises(RequestError, match=f"{words}.*inbol.threshold") as refused:
        work_of(body | {"inbol": {"target_risk": 0.3}}, dial, config)
    assert refused.value.status == 400
    assert work_of(body | {"inbol": {"threshold": 0.3}}, dial, config).rule.threshold == 0.3


def test_an_own_system_message_replaces_the_configured_one():
    config = load_config(["--config", DEMO, "--prompts.system", "llava_v1"])
    conditions = current_conditions(config.prompts, config.engine)
    dial = make_dial(config.serving.models["ca_dpo"], invented_calibration("d", config.prompts), conditions)
    said = {system: work_of(ask("What?", system=system), dial, config).prompt for system in (None, "Obey", "")}
    assert said[None] == f"{config.prompts.system} USER: What? ASSISTANT:"
    assert said["Obey"] == "Obey USER: What? ASSISTANT:" and said[""] == "USER: What? ASSISTANT:"
    same = ask("What?", picture=picture(), system=config.prompts.system, inbol={"target_risk": 0.3})
    assert work_of(same, dial, config).rule.target_risk == 0.3


STATIC = {
    "suffix": ["--serving.models.ca_dpo.answer_suffix=true"],
    "system": ["--prompts.system=vicuna_v1"],
    "engine.dtype": ["--engine.dtype=bfloat16"],
    "engine.max_model_len": ["--engine.max_model_len=128"],
}


@pytest.mark.parametrize("what", STATIC)
def test_a_default_target_that_can_never_hold_is_a_config_error_and_a_request_gets_400(what, tiny_llava, tmp_path):
    write_calibration(invented_calibration(model_digest(str(tiny_llava))), tmp_path / "c.json")
    served = ["--serving.models.ca_dpo.method=null", f"--serving.models.ca_dpo.path={tiny_llava}"]
    served += [f"--serving.models.ca_dpo.calibration={tmp_path / 'c.json'}"]
    arguments = ["--config", DEMO, *served, *STATIC[what]]
    with pytest.raises(ConfigError, match=f"serving.models.ca_dpo.target_risk .*{what}"):
        build_application(load_config([*arguments, "--serving.models.ca_dpo.target_risk=0.2"]))
    config = load_config(arguments)
    calibration = invented_calibration("d")
    dial = make_dial(config.serving.models["ca_dpo"], calibration, current_conditions(config.prompts, config.engine))
    with pytest.raises(RequestError, match=what):
        work_of(ask("What?", picture=picture(), inbol={"target_risk": 0.3}), dial, config)
    assert work_of(ask("What?", inbol={"threshold": 0.3}), dial, config).rule.threshold == 0.3


def test_the_calibration_stage_records_how_it_asked_and_what(tmp_path):
    config = load_config(["--config", PAPER, "--prompts.system", "vicuna_v1", "--calibration.methods", "[ca_dpo]"])
    asked = 2 * [("oven", "entity", 1)] + 3 * [("scienceqa", "mc", 1)]
    signals = [
        {
            "id": f"{dataset}:s:{number}",
            "part": part,
            "domain": "in_domain",
            "dataset": dataset,
            "answer_kind": kind,
            "num_images": num_images,
            "method": "ca_dpo",
            "checkpoint_digest": "d",
            "response": "a",
            "confidence": 0.9,
            "agreement": 1.0,
            "wrong": False,
        }
        for part in ("calibration", "test")
        for number, (dataset, kind, num_images) in enumerate(asked)
    ]
    folder = tmp_path / "signals"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(signals, schema=SIGNAL), folder / "signals.parquet")
    calibrate(stage_context(tmp_path, config, "calibrate", signals=folder))
    calibration = Calibration.model_validate_json((tmp_path / "ca_dpo.json").read_bytes())
    found = [(kind.dataset, kind.answer_kind, kind.num_images, kind.num_questions) for kind in calibration.kinds]
    assert found == [("scienceqa", "mc", 1, 3), ("oven", "entity", 1, 2)] and calibration.num_questions == 5
    conditions = calibration.conditions
    assert conditions.prompts == config.prompts and conditions.prompts.answer_suffix
    assert conditions.prompts.system == SYSTEM_TEXTS["vicuna_v1"]
    assert conditions.layout == "USER: <image>\n{question} ASSISTANT:"
    assert conditions.engine["dtype"] == "bfloat16" and calibration.max_tokens == 128
    dial = make_dial(config.serving.models["ca_dpo"], calibration, current_conditions(config.prompts, config.engine))
    assert not dial.obstacles
