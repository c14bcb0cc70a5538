"""How likely a model is to refuse, and what it would say if it did not: both from the first token of a reply.

A model trained on refusal templates opens a refusal with one of a few tokens. Their probability at the first position
is the model's own estimate that it cannot answer, and forbidding them there yields its best answer. A token that also
opens answers (`It`) counts as a refusal here: thresholds stay valid, but such answers are only given where the rest of
the distribution leaves them out of doubt.
"""

from collections.abc import Iterable, Mapping
from math import exp

from vllm import SamplingParams
from vllm.logprobs import Logprob
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from inbol_ray.prompts import CURRENT_REFUSALS

FORBIDDEN_FIRST_TOKENS = "inbol_forbidden_first_tokens"
"""Entry of `SamplingParams.extra_args`: token ids that a reply must not start with."""
_BEFORE_REPLY = "ASSISTANT:"


def refusal_openers(tokenizer) -> list[int]:
    """Ids of the tokens that start a refusal template after the prompt's last word, without repeats."""
    start = len(tokenizer(_BEFORE_REPLY, add_special_tokens=False).input_ids)
    ids = (
        tokenizer(f"{_BEFORE_REPLY} {refusal}", add_special_tokens=False).input_ids[start]
        for refusal in CURRENT_REFUSALS
    )
    return list(dict.fromkeys(ids))


def forbid_first(tokens: list[int]) -> dict[str, list[int]]:
    """`SamplingParams.extra_args` of a reply that must not start with these tokens."""
    return {FORBIDDEN_FIRST_TOKENS: tokens}


def answer_probability(position: Mapping[int, Logprob], openers: Iterable[int]) -> float:
    """1 - P(the first token opens a refusal), from what vLLM says of that position."""
    refusal = sum(exp(position[token].logprob) for token in openers if token in position)
    return min(1.0, max(0.0, 1.0 - refusal))


class ForbidFirstTokens(AdapterLogitsProcessor):
    """vLLM logits processor: requests that carry FORBIDDEN_FIRST_TOKENS do not start with those tokens.

    vLLM reports log-probabilities of before any processor, so one pass gives the answer and the chance of a refusal.
    """

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: SamplingParams):
        forbidden = (params.extra_args or {}).get(FORBIDDEN_FIRST_TOKENS)
        if not forbidden:
            return None

        def mask(output_ids: list[int], logits):
            if not output_ids:
                logits[forbidden] = float("-inf")
            return logits

        return mask
