"""The real renderer and the real vLLM engine: bad requests, seeds, reuse of prompt and image, several checkpoints."""

import math
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from inbol_ray.config.machines import EngineConfig
from inbol_ray.errors import CheckpointError, EngineError
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.sampling.render import Renderer
from inbol_ray.sampling.vllm_engine import Decoding, Request, VllmEngine

CONFIG = EngineConfig(kv_cache_bytes=64 << 20, max_num_seqs=16)
GREEDY = Decoding(max_tokens=8)
SAMPLED = Decoding(6, 1.0, 6, 0)


@pytest.fixture(scope="module")
def engine(tiny_llava):
    running = VllmEngine(str(tiny_llava), CONFIG, seed=0)
    yield running
    running.close()  # now, and not when it is collected: it takes this process's default group along


@pytest.fixture(scope="module")
def renderer(tiny_llava):
    return Renderer(str(tiny_llava), CONFIG)


def render(renderer, rows, seed=0):
    """(prompt, images) pairs -> requests with distinct seeds."""
    inputs = renderer.render([{"id": "vqav2:val:1", "prompt": prompt, "images": images} for prompt, images in rows])
    return [Request(rendered, seed + 1000 * number) for number, rendered in enumerate(inputs)]


def test_bad_requests_do_not_take_good_ones_down(engine, renderer, scene_images, tmp_path):
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(Path(scene_images[0]).read_bytes()[:60])
    rows = [(DEFAULT_FAMILY.chat.prompt(f"What is {n}?"), [scene_images[n % 4]]) for n in range(20)]
    bad = {
        3: ((DEFAULT_FAMILY.chat.prompt("word " * 1000), [scene_images[0]]), "prompt_refused"),
        7: ((DEFAULT_FAMILY.chat.prompt("What?"), [str(truncated)]), "unreadable_image"),
        11: ((DEFAULT_FAMILY.chat.prompt("What?"), [str(tmp_path / "missing.png")]), "unreadable_image"),
        15: ((DEFAULT_FAMILY.chat.prompt("What?", num_images=0), [scene_images[0]]), "prompt_refused"),
    }
    requests = render(renderer, [bad[n][0] if n in bad else row for n, row in enumerate(rows)])
    for n, reply in enumerate(engine.generate(requests, GREEDY)):
        if n in bad:
            assert reply.reason == bad[n][1] and reply.detail and not reply.texts
        else:
            assert reply.reason == "" and len(reply.texts) == 1


def test_a_forced_answer_does_not_open_like_a_refusal(engine, renderer, scene_images, monkeypatch):
    requests = render(renderer, [(DEFAULT_FAMILY.chat.prompt("What color is the ring?"), [scene_images[0]])])
    (free,) = engine.generate(requests, Decoding(max_tokens=8, num_logprobs=20))
    opener, logprob = next(iter(free.first_token.items()))  # the token that was taken comes first
    tokenizer = engine._tokenizer
    openers = [n for n in range(len(tokenizer)) if tokenizer.decode([n]) == opener]
    monkeypatch.setattr(engine, "_first_token", replace(engine._first_token, openers=openers))
    (forced,) = engine.generate(requests, Decoding(4, 1.0, 8, force_first=True))
    assert forced.texts[0] != free.texts[0] and forced.first_token == {}
    assert forced.answer_probability == pytest.approx(1 - math.exp(logprob), abs=1e-4)
    (sampled,) = engine.generate(requests, Decoding(4, 1.0, 8))
    assert forced.texts[1:] == sampled.texts[1:] and sampled.answer_probability is None


def expected_forced(checkpoint, openers, rows, max_tokens):
    """(text, log-probability of each token) by transformers in one pass: the greedy reply without these first tokens."""
    import torch

    from inbol_ray.images import load_images
    from inbol_ray.models.loading import load_model, load_processor

    model, processor = load_model(str(checkpoint)), load_processor(str(checkpoint))
    expected = []
    for prompt, images in rows:
        inputs = processor(images=load_images(images), text=prompt, return_tensors="pt")
        out = model.generate(
            **inputs,
            max_new_tokens=max_tokens,
            do_sample=False,
            begin_suppress_tokens=list(openers),
            output_logits=True,
            return_dict_in_generate=True,
        )
        ids = out.sequences[0, inputs["input_ids"].shape[1] :]
        logprobs = [float(torch.log_softmax(row[0], -1)[one]) for row, one in zip(out.logits, ids, strict=True)]
        expected.append((processor.decode(ids, skip_special_tokens=True).strip(), logprobs))
    return expected


def meet_openers(engine, requests, monkeypatch):
    """Openers that stand at the start of free replies and within them, and the list that vLLM's outputs are put in."""
    seen, receive = [], engine._receive
    monkeypatch.setattr(engine, "_receive", lambda output: (seen.append(output), receive(output)))
    engine.generate(requests, GREEDY)
    said = [list(output.outputs[0].token_ids) for output in seen]
    openers = list(dict.fromkeys([ids[0] for ids in said] + [ids[n % 3 + 1] for n, ids in enumerate(said)]))
    monkeypatch.setattr(engine, "_first_token", replace(engine._first_token, openers=openers))
    seen.clear()
    return openers, seen


@pytest.mark.parametrize("max_tokens", [1, 8])
def test_a_forced_answer_is_that_of_one_pass_also_where_an_opener_stands_within_it(
    engine, renderer, tiny_llava, scene_images, monkeypatch, max_tokens
):
    rows = [(DEFAULT_FAMILY.chat.prompt(f"What is {n}?"), [scene_images[n % 4]]) for n in range(8)]
    requests = render(renderer, rows)
    openers, seen = meet_openers(engine, requests, monkeypatch)
    replies = engine.generate(requests, Decoding(max_tokens=max_tokens, force_first=True))
    cut = [output for output in seen if output.outputs[0].stop_reason in openers]
    assert len(seen) == len(rows) + (len(cut) if max_tokens > 1 else 0) and (cut or max_tokens == 1)
    expected = expected_forced(tiny_llava, openers, rows, max_tokens)
    assert [reply.texts for reply in replies] == [[text] for text, _ in expected]
    for reply, (_, logprobs) in zip(replies, expected, strict=True):
        assert reply.token_logprobs == [pytest.approx(logprobs, abs=1e-4)]


def test_a_forced_answer_is_empty_where_the_end_is_the_best_that_is_no_refusal(
    engine, renderer, tiny_llava, scene_images, tmp_path
):
    import torch

    from inbol_ray.images import load_images
    from inbol_ray.models.loading import load_model, load_processor
    from inbol_ray.training.export import copy_processor

    model, processor = load_model(str(tiny_llava)), load_processor(str(tiny_llava))
    prompt = DEFAULT_FAMILY.chat.prompt("What color is it?")
    inputs = processor(images=load_images(scene_images[:1]), text=prompt, return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True)
        last = out.hidden_states[-1][0, -1]
        end = processor.tokenizer.eos_token_id
        model.get_output_embeddings().weight[end] = last * (out.logits.max() + 5) / last.dot(last)
    model.save_pretrained(tmp_path)
    copy_processor(str(tiny_llava), tmp_path)
    requests = render(renderer, [(prompt, scene_images[:1])])
    (reply,) = engine.generate(requests, Decoding(max_tokens=8, force_first=True), checkpoint=str(tmp_path))
    assert engine.generate(requests, GREEDY, checkpoint=str(tiny_llava))[0].texts != [""]  # as the next test expects it
    ((text, logprobs),) = expected_forced(tmp_path, engine._first_token.openers, [(prompt, scene_images[:1])], 8)
    assert reply.texts == [text] == [""]
    assert reply.token_logprobs == [pytest.approx(logprobs, abs=1e-4)] and len(logprobs) == 1


def test_model_runner_v2_takes_every_request(engine, renderer, tiny_llava, scene_images, monkeypatch):
    """vLLM's own validation of what we pass, on CPU. Its sampler itself needs a GPU: unproven here."""
    from inbol_ray.sampling.engine_settings import engine_args
    from tests.vllm_platforms import check_params_on_v2

    passed, add = [], engine._vllm.add_request

    def note(request_id, rendered, params, **options):
        passed.append((rendered, params.clone()))
        return add(request_id, rendered, params, **options)

    monkeypatch.setattr(engine._vllm, "add_request", note)
    requests = render(renderer, [(DEFAULT_FAMILY.chat.prompt(f"What is {n}?"), [scene_images[n]]) for n in range(4)])
    for decoding in (GREEDY, SAMPLED, Decoding(num_logprobs=20), Decoding(2, 1.0, 8, force_first=True)):
        engine.generate(requests, decoding)
    meet_openers(engine, requests, monkeypatch)
    engine.generate(requests, Decoding(max_tokens=8, force_first=True))
    assert len({len(rendered["prompt_token_ids"]) for rendered, _ in passed}) > 1  # some go on with a cut answer
    check_params_on_v2(monkeypatch, engine_args(str(tiny_llava), CONFIG, 0), passed)


def test_samples_depend_on_the_seed_and_not_on_company_or_rounds(engine, renderer, scene_images):
    rows = [(DEFAULT_FAMILY.chat.prompt(f"What is {n}?"), [scene_images[n % 4]]) for n in range(12)]
    requests = render(renderer, rows)
    at_once = [reply.texts for reply in engine.generate(requests, SAMPLED)]
    in_rounds = engine.generate(requests[::-1], SAMPLED, num_more=lambda _index, reply: min(2, 6 - len(reply.texts)))[
        ::-1
    ]
    assert [reply.texts for reply in in_rounds] == at_once
    alone = engine.generate(requests[5:6], SAMPLED)[0]
    assert alone.texts == at_once[5] and len(set(alone.texts)) > 1
    assert [reply.texts for reply in engine.generate(render(renderer, rows, seed=7), SAMPLED)] != at_once


def test_rounds_end_when_the_caller_has_enough(engine, renderer, scene_images):
    requests = render(renderer, [(DEFAULT_FAMILY.chat.prompt("What?"), [scene_images[0]])] * 3)
    replies = engine.generate(requests, SAMPLED, num_more=lambda index, reply: 2 if len(reply.texts) < 2 * index else 0)
    assert [len(reply.texts) for reply in replies] == [0, 2, 4]
    assert [len(reply.token_logprobs) for reply in replies] == [0, 2, 4]


def test_calls_from_several_threads_share_the_engine(engine, renderer, scene_images):
    batches = [
        render(renderer, [(DEFAULT_FAMILY.chat.prompt(f"Is it {n}?"), [scene_images[n]])] * 8, seed=n) for n in range(4)
    ]
    alone = [[reply.texts for reply in engine.generate(batch, SAMPLED)] for batch in batches]
    together = [None] * 4

    def call(n):
        together[n] = [reply.texts for reply in engine.generate(batches[n], SAMPLED)]

    threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert together == alone


def test_an_earlier_call_is_finished_first_however_many_rounds_it_takes(engine, renderer, scene_images):
    """So that a kill finds few questions answered whose block is not: at most those that ran beside the last ones."""
    answered = []

    def call(name, num_rounds):
        def num_more(_index, reply):
            if len(reply.texts) < num_rounds:
                return 1
            answered.append(name)
            return 0

        requests = render(
            renderer, [(DEFAULT_FAMILY.chat.prompt(f"Is it {n}?"), [scene_images[n % 4]]) for n in range(40)]
        )
        return threading.Thread(target=engine.generate, args=(requests, SAMPLED), kwargs={"num_more": num_more})

    calls = [call("first", 6), call("second", 2)]
    for thread in calls:
        thread.start()
        while not engine._running:
            time.sleep(0.001)
    for thread in calls:
        thread.join(timeout=120)
    assert len(answered) == 80
    last_of_first = 79 - answered[::-1].index("first")
    assert answered[:last_of_first].count("second") <= CONFIG.max_num_seqs


def test_an_image_is_encoded_once_for_all_its_samples(engine, renderer, tmp_path):
    images = [str(tmp_path / f"{n}.png") for n in range(2)]
    for n, path in enumerate(images):
        Image.new("RGB", (48, 48), (200, 40 * n, 7)).save(path)
    encoded = []
    model = engine._vllm.model_executor.driver_worker.get_model()
    hook = model.vision_tower.register_forward_pre_hook(lambda _module, args: encoded.append(len(args[0])))
    try:
        rows = [(DEFAULT_FAMILY.chat.prompt(f"How many of {n}?"), [images[n % 2]]) for n in range(6)]
        engine.generate(render(renderer, rows), SAMPLED, num_more=lambda _index, reply: min(2, 6 - len(reply.texts)))
    finally:
        hook.remove()
    assert sum(encoded) == 2  # for 36 samples of 6 questions in three rounds


def test_log_probabilities_are_those_of_transformers(engine, renderer, tiny_llava, scene_images):
    import torch

    from inbol_ray.images import load_images
    from inbol_ray.models.loading import load_model, load_processor

    prompt = DEFAULT_FAMILY.chat.prompt("What color is it?")
    reply = engine.generate(render(renderer, [(prompt, scene_images[:1])]), Decoding(1, 0.0, 5, 20))[0]
    assert len(reply.first_token) > 10 and 0 < sum(map(math.exp, reply.first_token.values())) <= 1 + 1e-6

    model, processor = load_model(str(tiny_llava)), load_processor(str(tiny_llava))
    inputs = processor(images=load_images(scene_images[:1]), text=prompt, return_tensors="pt")
    out = model.generate(**inputs, max_new_tokens=5, do_sample=False, output_scores=True, return_dict_in_generate=True)
    tokens = out.sequences[0, inputs["input_ids"].shape[1] :]
    expected = [float(torch.log_softmax(score[0], -1)[token]) for score, token in zip(out.scores, tokens, strict=True)]
    assert reply.token_logprobs == [pytest.approx(expected, abs=1e-4)]
    assert reply.texts == [processor.decode(tokens, skip_special_tokens=True).strip()]


def test_swapped_weights_answer_like_a_new_engine_and_like_transformers(
    engine, renderer, tiny_llava, scene_images, tmp_path
):
    import torch

    from inbol_ray.images import load_images
    from inbol_ray.models.loading import load_model, load_processor
    from inbol_ray.training.export import copy_processor

    torch.manual_seed(1)
    other = load_model(str(tiny_llava))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2 * parameter.std())
    folder = tmp_path / "other"
    other.save_pretrained(folder)
    copy_processor(str(tiny_llava), folder)

    rows = [(DEFAULT_FAMILY.chat.prompt(f"What color is {n}?"), [image]) for n, image in enumerate(scene_images)]
    requests = render(renderer, rows)

    def ask(checkpoint):
        return [reply.texts[0] for reply in engine.generate(requests, GREEDY, checkpoint=str(checkpoint))]

    before, swapped = ask(tiny_llava), ask(folder)
    assert ask(tiny_llava) == before != swapped

    processor = load_processor(str(folder))
    for (prompt, images), text in zip(rows, swapped, strict=True):
        inputs = processor(images=load_images(images), text=prompt, return_tensors="pt")
        ids = other.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert processor.decode(ids, skip_special_tokens=True).strip() == text


def test_an_engine_error_on_one_request_refuses_that_one(engine, renderer, scene_images, monkeypatch):
    """vLLM ends a request with `error` where it alone failed (a lost KV transfer for example); here its reason is set."""
    step, failed = engine._vllm.step, []

    def step_with_an_error():
        outputs = step()
        for output in outputs:
            if output.finished and not failed:
                output.outputs[2].finish_reason = "error"
                failed.append(engine._running[output.request_id][1])
        return outputs

    monkeypatch.setattr(engine._vllm, "step", step_with_an_error)
    requests = render(
        renderer, [(DEFAULT_FAMILY.chat.prompt(f"What is {n}?"), [scene_images[n % 4]]) for n in range(6)]
    )
    replies = engine.generate(requests, SAMPLED)
    assert [n for n, reply in enumerate(replies) if reply.reason == "engine_error"] == failed
    assert [len(reply.texts) for reply in replies if not reply.reason] == [6] * 5


def test_a_folder_without_processor_is_named(engine, renderer, tiny_llava, scene_images, tmp_path):
    (tmp_path / "config.json").write_text((tiny_llava / "config.json").read_text())
    requests = render(renderer, [(DEFAULT_FAMILY.chat.prompt("What?"), scene_images[:1])])
    with pytest.raises(CheckpointError, match="tokenizer_config.json is missing"):
        engine.generate(requests, GREEDY, checkpoint=str(tmp_path))
    assert engine.generate(requests, GREEDY)[0].texts  # and the engine goes on


def test_an_engine_that_hangs_counts_as_dead(tiny_llava, renderer, scene_images):
    hanging = VllmEngine(str(tiny_llava), CONFIG.model_copy(update={"stall_timeout_s": 1}), seed=0)
    requests = render(renderer, [(DEFAULT_FAMILY.chat.prompt("What?"), scene_images[:1])])
    assert hanging.generate(requests, GREEDY)[0].texts
    release = threading.Event()

    def hang():
        release.wait()
        raise RuntimeError("released")  # and the engine's thread ends

    hanging._vllm.step = hang
    with pytest.raises(EngineError, match="no step for"):
        hanging.generate(requests, GREEDY)
    release.set()
    hanging.close()


def test_a_pool_that_lets_go_of_its_actor_ends_the_engine(tiny_llava, renderer, scene_images, tmp_path):
    """So does Ray Data when there is no more work; the next pool wants the devices."""
    import pyarrow as pa

    from inbol_ray.config.machines import StorageConfig
    from inbol_ray.sampling.generate import AnswerBlock
    from inbol_ray.sampling.parts import open_parts

    parts = open_parts(str(tmp_path), StorageConfig(), [pa.table({"id": ["q"], "checkpoint": ["m"]})], {}, 1)
    actor = AnswerBlock(parts, str(tiny_llava), CONFIG, GREEDY, 0, None)
    engine = actor.engine
    requests = render(renderer, [(DEFAULT_FAMILY.chat.prompt("What?"), scene_images[:1])])
    assert engine.generate(requests, GREEDY)[0].texts
    del actor
    with pytest.raises(EngineError, match="it was closed"):
        engine.generate(requests, GREEDY)


def test_a_dead_engine_tells_everyone_who_waits_and_who_comes_later(engine, renderer, scene_images):
    """Last in this file: the engine is of no use after it."""
    requests = render(renderer, [(DEFAULT_FAMILY.chat.prompt("What?"), scene_images[:1])])

    def fail():
        raise RuntimeError("out of cake")

    engine._vllm.step = fail
    for _ in range(2):
        with pytest.raises(EngineError, match="out of cake"):
            engine.generate(requests, GREEDY)
