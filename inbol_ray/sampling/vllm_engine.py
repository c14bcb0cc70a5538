"""One vLLM engine in this process: rendered requests in, replies or the reason for none out.

EngineInput -> [thread that alone touches vLLM: admit, step, draw the next round] -> Reply

Calls from several threads share one continuous batch: while one call's last replies are being decoded, the next call's
first are already running. What an earlier call needs goes first, further rounds included. A question may be sampled in
rounds; its prompt and image features stay in the engine's caches between rounds.

The engine keeps running while checkpoints change: weights are swapped in place, which takes milliseconds where a new
engine takes many seconds.
"""

import itertools
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from inbol_ray.config.machines import EngineConfig
from inbol_ray.errors import CheckpointError, EngineError
from inbol_ray.sampling.checkpoints import check_checkpoint
from inbol_ray.sampling.device_memory import device_memory
from inbol_ray.sampling.engine_settings import engine_args, set_engine_environment
from inbol_ray.sampling.refusal_openers import FirstToken
from inbol_ray.sampling.render import MAX_DETAIL_CHARS, EngineInput, InvalidRequest
from inbol_ray.store.local_copies import local_copy


@dataclass(frozen=True)
class Decoding:
    """How replies are drawn.

    `num_logprobs` None returns no log-probabilities, 0 those of the sampled tokens, k > 0 also the k most likely
    alternatives of the first token. `force_first` makes the first sample the greedy answer that does not open like a
    refusal, with `Reply.answer_probability`, and with its log-probabilities whatever `num_logprobs` says.
    """

    num_samples: int = 1
    temperature: float = 0.0
    max_tokens: int = 16
    num_logprobs: int | None = None
    force_first: bool = False


@dataclass(frozen=True)
class Request:
    """A rendered prompt, and where its random draws start.

    Sample i draws from seed `seed` + i, however the samples are spread over rounds, batches and engines. vLLM then
    repeats a sample only as far as its logits repeat: batches of another composition, another number of devices or
    another kernel may round differently, and a near tie may fall to another token.
    """

    input: EngineInput | InvalidRequest
    seed: int = 0


Finish = Literal["", "stop", "length", "refusal"]
"""How a reply ended; empty where that was not told."""


@dataclass
class Reply:
    """`texts` and `token_logprobs` have one entry a sample; `first_token` maps alternatives of the first sample's first
    token to their log-probability. `answer_probability` is 1 - P(refusal) at the first token of a forced answer.

    A request that could not be answered has no texts, and `reason` (a slug) and `detail` say why.

    `finish` and the numbers of tokens are those that a server behind an endpoint tells (`endpoints.wire`): how the
    first sample ended, "length" where `max_tokens` cut it off, "refusal" where the server says that it is one.
    """

    texts: list[str] = field(default_factory=list)
    token_logprobs: list[list[float]] = field(default_factory=list)
    first_token: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""
    answer_probability: float | None = None
    finish: Finish = ""
    input_tokens: int | None = None
    output_tokens: int | None = None

    def refuse(self, reason: str, detail: str) -> None:
        self.texts, self.token_logprobs, self.first_token = [], [], {}
        self.reason, self.detail = reason, detail[:MAX_DETAIL_CHARS]


NumMore = Callable[[int, Reply], int]
"""(index of a request, its samples so far) -> samples to draw next; 0 ends the question."""

OnReply = Callable[[int, Reply], None]
"""Told the index of a request and its final reply. The engine waits for it; what it raises ends the engine."""


@dataclass
class _Call:
    """One `generate` call on its way through the engine. Of two calls that wait, the one of lower `number` goes first."""

    number: int
    checkpoint: str
    requests: Sequence[Request]
    decoding: Decoding
    num_more: NumMore
    on_reply: OnReply
    replies: list[Reply]
    num_open: int
    future: Future = field(default_factory=Future)
    begun: dict[int, tuple[list[int], list[float]]] = field(default_factory=dict)
    """By request, what is said so far of a forced answer: token ids and their log-probabilities."""


class VllmEngine:
    """A vLLM engine on one checkpoint at a time.

    Raises CheckpointError for a folder that it cannot load, and EngineError where its devices have no room for it.
    """

    def __init__(self, checkpoint: str, config: EngineConfig, seed: int) -> None:
        folder = local_copy(checkpoint)
        check_checkpoint(folder)
        set_engine_environment(config)
        from vllm.v1.engine.llm_engine import LLMEngine

        with device_memory(config) as device_bytes:
            self._vllm = LLMEngine.from_engine_args(engine_args(folder, config, seed, device_bytes))
        self._tokenizer = self._vllm.get_tokenizer()
        self._first_token = FirstToken.of_engine(self._tokenizer, self._vllm.model_config)
        self._checkpoint = checkpoint
        self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._waiting: deque[_Call] = deque()
        self._running: dict[str, tuple[_Call, int]] = {}
        self._numbers = itertools.count()
        self._num_requests = 0
        self._failure: BaseException | None = None
        self._stall_timeout_s = config.stall_timeout_s
        self._last_step_s = 0.0
        self._thread = threading.Thread(target=self._serve, name="vllm", daemon=True)
        self._thread.start()

    def generate(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        checkpoint: str | None = None,
        num_more: NumMore | None = None,
        on_reply: OnReply = lambda _index, _reply: None,
    ) -> list[Reply]:
        """A reply for every request, in order; a bad request never takes others down with it. Thread-safe.

        `checkpoint` must have the architecture of the first one; None means the one in use. `num_more` decides after
        each round of a question how many samples follow; without it there is one round of `decoding.num_samples`.

        Raises CheckpointError, and EngineError once the engine has died or hangs: it cannot be used any more.
        """
        if not requests:
            return []
        fixed = decoding.num_samples
        call = _Call(
            next(self._numbers),
            checkpoint or self._checkpoint,
            requests,
            decoding,
            num_more or (lambda _index, reply: fixed - len(reply.texts)),
            on_reply,
            [Reply() for _ in requests],
            len(requests),
        )
        called_s = time.monotonic()
        self._inbox.put(call)
        while True:
            if self._failure is not None and not call.future.done():  # the thread ended before it saw this call
                raise _as_engine_error(self._failure)
            try:
                return call.future.result(timeout=min(5, self._stall_timeout_s))
            except TimeoutError:
                idle_s = time.monotonic() - max(called_s, self._last_step_s)
                if idle_s > self._stall_timeout_s:
                    raise EngineError(f"the engine has made no step for {idle_s:.0f} s") from None

    def close(self) -> None:
        """End the engine, and let go of its devices. Whoever waits is told so by an EngineError."""
        self._inbox.put(None)
        self._thread.join(timeout=self._stall_timeout_s)
        self._vllm.engine_core.shutdown()

    def _serve(self) -> None:
        try:
            while True:
                self._take_calls()
                self._last_step_s = time.monotonic()
                for output in self._vllm.step() if self._running else ():
                    if output.finished:
                        self._receive(output)
        except BaseException as error:
            # vLLM is in an unknown state: whoever waits is told, and the process is to be replaced.
            self._failure = error
            while not self._inbox.empty():
                self._waiting += [call] if (call := self._inbox.get()) else []
            for call in [*self._waiting, *(entry[0] for entry in self._running.values())]:
                if not call.future.done():
                    call.future.set_exception(_as_engine_error(error))

    def _take_calls(self) -> None:
        """Wait for work when there is none, and admit calls until one needs weights that are still in use otherwise."""
        while True:
            try:
                call = self._inbox.get(block=not (self._running or self._waiting))
            except queue.Empty:
                break
            if call is None:
                raise EngineError("it was closed")
            self._waiting.append(call)
        while self._waiting and (self._waiting[0].checkpoint == self._checkpoint or not self._running):
            call = self._waiting.popleft()
            try:
                self._load(call.checkpoint)
            except CheckpointError as error:
                call.future.set_exception(error)
                continue
            for index in range(len(call.requests)):
                self._draw(call, index)

    def _load(self, checkpoint: str) -> None:
        """Switch to another checkpoint of the same architecture; every cache of the old weights is dropped."""
        if checkpoint == self._checkpoint:
            return
        folder = local_copy(checkpoint)
        check_checkpoint(folder)
        self._vllm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        if not self._vllm.reset_prefix_cache():
            raise CheckpointError(f"{checkpoint}: the engine kept cached prefixes of {self._checkpoint}")
        self._vllm.reset_encoder_cache()
        self._checkpoint = checkpoint

    def _draw(self, call: _Call, index: int) -> None:
        """Start the next round of a request, or end it."""
        request, reply, decoding = call.requests[index], call.replies[index], call.decoding
        if isinstance(request.input, InvalidRequest):
            reply.refuse(request.input.reason, request.input.detail)
            return self._close(call, index)
        if decoding.force_first and not reply.texts:
            return self._force(call, index)
        num_more = call.num_more(index, reply)
        if num_more <= 0:
            return self._close(call, index)
        options = {
            "n": num_more,
            "temperature": decoding.temperature,
            "max_tokens": decoding.max_tokens,
            "logprobs": decoding.num_logprobs,
            # vLLM gives child i of a request the seed of the request plus i.
            "seed": request.seed + len(reply.texts) if decoding.temperature > 0 else None,
        }
        self._add(call, index, request.input, options)

    def _force(self, call: _Call, index: int) -> None:
        """Start the forced answer of a request, or go on with it after what is said."""
        said, _ = call.begun.get(index, ((), ()))
        options = {"temperature": 0.0, "max_tokens": call.decoding.max_tokens - len(said)}
        rendered = call.requests[index].input
        if not said:
            return self._add(call, index, rendered, options | self._first_token.forbidden())
        # The image's place and hash stay what they are; its features and the prompt are in the engine's caches.
        longer = rendered | {"prompt_token_ids": [*rendered["prompt_token_ids"], *said]}
        self._add(call, index, longer, options | {"logprobs": 0})

    def _add(self, call: _Call, index: int, rendered: EngineInput, options: dict[str, Any]) -> None:
        """Hand a request to vLLM, `options` being SamplingParams; one that it does not take is refused."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            **options,
            flat_logprobs=True,
            # Whole replies are decoded when they are finished: token by token costs a tenth of the speed.
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._num_requests += 1
        request_id = str(self._num_requests)
        try:
            self._vllm.add_request(request_id, rendered, params, priority=call.number)
        except (ValueError, VLLMClientError) as error:
            call.replies[index].refuse("prompt_refused", f"the engine refused the prompt: {error}")
            return self._close(call, index)
        self._running[request_id] = (call, index)

    def _receive(self, output) -> None:
        call, index = self._running.pop(output.request_id)
        reply = call.replies[index]
        failed = [sample.finish_reason for sample in output.outputs if sample.finish_reason in ("error", "abort")]
        if failed:
            reply.refuse("engine_error", f"the engine ended the request with {failed[0]!r}")
            return self._close(call, index)
        if call.decoding.force_first and not reply.texts:
            return self._receive_forced(call, index, output)
        if call.decoding.num_logprobs and not reply.texts:
            reply.first_token = self._alternatives(output.outputs[0].logprobs)
        token_logprobs = [_token_logprobs(sample.logprobs) for sample in output.outputs]
        self._keep(call, index, [sample.token_ids for sample in output.outputs], token_logprobs)

    def _receive_forced(self, call: _Call, index: int, output) -> None:
        (sample,) = output.outputs
        token_ids, token_logprobs = list(sample.token_ids), _token_logprobs(sample.logprobs)
        if index in call.begun:
            said, said_logprobs = call.begun.pop(index)
            token_ids, token_logprobs = said + token_ids, said_logprobs + token_logprobs
        else:
            position = sample.logprobs[0]
            call.replies[index].answer_probability = self._first_token.answer_probability(position)
            if self._first_token.is_end(position, token_ids[0]):
                end = max(self._first_token.ends, key=lambda token: position[token].logprob)
                token_ids, token_logprobs = [end], [position[end].logprob]
            elif self._first_token.is_cut(sample.stop_reason) and self._has_room(call, output, len(token_ids)):
                call.begun[index] = token_ids, token_logprobs
                return self._force(call, index)
        self._keep(call, index, [token_ids], [token_logprobs])

    def _has_room(self, call: _Call, output, num_tokens: int) -> bool:
        room = self._vllm.model_config.max_model_len - len(output.prompt_token_ids)
        return num_tokens < min(call.decoding.max_tokens, room)

    def _keep(
        self, call: _Call, index: int, token_ids: Sequence[Sequence[int]], token_logprobs: list[list[float]]
    ) -> None:
        """Add finished samples to a reply, and draw the next."""
        reply = call.replies[index]
        reply.texts += [text.strip() for text in self._tokenizer.batch_decode(token_ids, skip_special_tokens=True)]
        reply.token_logprobs += token_logprobs
        self._draw(call, index)

    def _alternatives(self, logprobs) -> dict[str, float]:
        alternatives: dict[str, float] = {}
        for token_id, entry in logprobs[0].items():
            # Several tokens may have one text, bytes that are no whole character for example: their probabilities add up.
            text = self._tokenizer.decode([token_id])
            alternatives[text] = float(np.logaddexp(alternatives.get(text, -math.inf), entry.logprob))
        return alternatives

    def _close(self, call: _Call, index: int) -> None:
        call.on_reply(index, call.replies[index])
        call.num_open -= 1
        if call.num_open == 0:
            call.future.set_result(call.replies)


def _token_logprobs(logprobs) -> list[float]:
    """Log-probability of each sampled token, which vLLM lists first at its position."""
    return [] if logprobs is None else [logprobs.logprobs[start] for start in logprobs.start_indices]


def _as_engine_error(error: BaseException) -> EngineError:
    wrapped = EngineError(f"the engine died: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
