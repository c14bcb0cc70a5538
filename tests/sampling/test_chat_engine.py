"""The real async engine: forced replies in pieces and whole, cut or not, against one pass by transformers."""

import asyncio
import functools
from dataclasses import replace

import pytest
from PIL import Image

from inbol_ray.config.machines import EngineConfig
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.sampling.chat_engine import ChatEngine, Prompt, ReplyOptions
from inbol_ray.sampling.engine_settings import engine_args
from tests.vllm_platforms import check_params_on_v2

CONFIG = EngineConfig(kv_cache_bytes=64 << 20, max_num_seqs=16)
NUM_TOKENS = 8
FORCED = ReplyOptions(NUM_TOKENS, force_answer=True)


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engine(runner, tiny_llava):
    async def start() -> ChatEngine:
        return ChatEngine(str(tiny_llava), CONFIG, seed=0)

    running = runner.run(start())
    yield running
    running.close()


@pytest.fixture(scope="module")
def prompts(scene_images):
    images = [Image.open(path).convert("RGB") for path in scene_images]
    asked = [Prompt(DEFAULT_FAMILY.chat.prompt(f"What is {n}?"), images[n : n + 1]) for n in range(4)]
    return [*asked, Prompt(DEFAULT_FAMILY.chat.prompt("What is it?", num_images=0))]


@pytest.fixture
def write(runner, engine):
    """(prompt, options, stream) -> the pieces."""

    async def collect(prompt, options, stream):
        return [piece async for piece in engine.write(prompt, options, stream=stream)]

    return lambda prompt, options, stream=False: runner.run(collect(prompt, options, stream))


@pytest.fixture(scope="module")
def expected(tiny_llava, prompts):
    """(openers, number of tokens) -> (token ids, text) of each prompt's greedy reply, by transformers in one pass."""
    from inbol_ray.models.loading import load_model, load_processor

    model, processor = load_model(str(tiny_llava)), load_processor(str(tiny_llava))

    @functools.cache
    def reply(openers, num_tokens=NUM_TOKENS):
        found = []
        for prompt in prompts:
            inputs = processor(images=list(prompt.images) or None, text=prompt.text, return_tensors="pt")
            out = model.generate(
                **inputs, max_new_tokens=num_tokens, do_sample=False, begin_suppress_tokens=list(openers)
            )
            ids = out[0, inputs["input_ids"].shape[1] :].tolist()
            found.append((ids, processor.decode(ids, skip_special_tokens=True)))
        return found

    return reply


@pytest.fixture
def openers(engine, expected, monkeypatch):
    """The first tokens of all greedy replies, and of each one that comes later in it: forced answers meet them."""
    free = [ids for ids, _ in expected(tuple(engine.first_token.openers))]
    found = list(dict.fromkeys([ids[0] for ids in free] + [ids[n % 3 + 1] for n, ids in enumerate(free)]))
    monkeypatch.setattr(engine, "first_token", replace(engine.first_token, openers=found))
    return found


@pytest.fixture
def num_requests(engine, monkeypatch):
    """Counts what is asked of vLLM, and keeps it."""
    asked, generate = [], engine.engine.generate

    def note(inputs, params, *args, **options):
        asked.append((inputs, params))
        return generate(inputs, params, *args, **options)

    monkeypatch.setattr(engine.engine, "generate", note)
    return asked


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("max_tokens", [1, NUM_TOKENS])
def test_a_forced_reply_is_that_of_one_pass(write, prompts, expected, openers, num_requests, stream, max_tokens):
    options = replace(FORCED, max_tokens=max_tokens)
    for prompt, (ids, text) in zip(prompts, expected(tuple(openers), max_tokens), strict=True):
        pieces = write(prompt, options, stream)
        # A stream keeps back the bytes of a character that was never finished.
        said = "".join(piece.text for piece in pieces)
        assert said.strip() == text.strip().rstrip("\N{REPLACEMENT CHARACTER}").rstrip()
        assert pieces[-1].num_tokens == len(ids) and ids[0] not in openers
        assert pieces[-1].finish_reason == "length" and {piece.finish_reason for piece in pieces[:-1]} <= {None}
        assert len({(piece.confidence, piece.num_prompt_tokens) for piece in pieces}) == 1
        assert stream or len(pieces) == 1
    assert max_tokens == 1 or len(num_requests) > len(prompts)  # some went on after an opener


def test_confidence_is_the_same_forced_and_free(write, prompts):
    for prompt in prompts:
        (free,), (forced,) = write(prompt, ReplyOptions(NUM_TOKENS)), write(prompt, FORCED)
        assert forced.confidence == pytest.approx(free.confidence, abs=1e-6) and 0 < forced.confidence < 1
        assert not forced.opens_refusal


@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_end_a_forced_reply_wherever_they_stand(write, prompts, openers, stream):
    for prompt in prompts:
        whole = "".join(piece.text for piece in write(prompt, FORCED, True))
        for start in range(0, len(whole) - 3, 4):
            stop = whole[start : start + 3]
            pieces = write(prompt, replace(FORCED, stop=(stop,)), stream)
            assert "".join(piece.text for piece in pieces) == whole[: whole.index(stop)]
            assert pieces[-1].finish_reason == "stop"


def test_a_seeded_forced_reply_is_drawn_anew_alike(write, prompts, openers):
    drawn = replace(FORCED, temperature=1.0, seed=7)
    first = [write(prompt, drawn)[0].text for prompt in prompts]
    assert [write(prompt, drawn)[0].text for prompt in prompts] == first
    assert [write(prompt, replace(drawn, seed=8))[0].text for prompt in prompts] != first


def test_leaving_early_ends_the_generation_before_and_after_a_cut(runner, engine, prompts, openers):
    async def leave(after: int) -> None:
        pieces = engine.write(prompts[0], replace(FORCED, max_tokens=100), stream=True)
        for _ in range(after):
            await anext(pieces)
        assert engine.engine.output_processor.has_unfinished_requests()
        await pieces.aclose()
        assert not engine.engine.output_processor.has_unfinished_requests()

    for after in (1, 6):
        runner.run(leave(after))


def test_model_runner_v2_takes_every_request(engine, write, prompts, openers, num_requests, tiny_llava, monkeypatch):
    """vLLM's own validation of what we pass, on CPU. Its sampler itself needs a GPU: unproven here."""
    for prompt in prompts[-1:]:  # a text: the engine's own renderer makes an input of it
        for options in (
            FORCED,
            ReplyOptions(NUM_TOKENS, 0.7, 0.9, ("x",), 3),
            replace(FORCED, temperature=1.0, seed=1),
        ):
            write(prompt, options)
    tokenizer = engine.engine.get_tokenizer()
    passed = []
    for inputs, params in num_requests:
        ids = inputs.get("prompt_token_ids") or tokenizer(inputs["prompt"]).input_ids
        passed.append(({"type": "token", "prompt_token_ids": ids}, params))
    check_params_on_v2(monkeypatch, engine_args(str(tiny_llava), CONFIG, 0), passed)
