"""How likely a model is to refuse, and what it would say if it did not: both from the first token of a reply.

A model trained on refusal templates opens a refusal with one of a few tokens. Their probability at the first position
is the model's own estimate that it cannot answer, and forbidding them there yields its best answer. A token that also
opens answers (`It`) counts as a refusal here: thresholds stay valid, but such answers are only given where the rest of
the distribution leaves them out of doubt.

Forbidding takes nothing but public sampling parameters, which both of vLLM's model runners have: `min_tokens` keeps
`stop_token_ids` and the end from being the first token, and log-probabilities are those of before. So one pass gives the
answer and the chance of a refusal. What it costs: a reply ends at the next token of these (`The ring. It ...`), and a
further request has to go on from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from inbol_ray.method.prompts import CURRENT_REFUSALS
from inbol_ray.models import ChatLayout, family_of_type


def refusal_openers(tokenizer, chat: ChatLayout) -> list[int]:
    """Ids of the tokens that start a refusal template after the prompt's last word, without repeats."""
    start = len(tokenizer(chat.before_reply, add_special_tokens=False).input_ids)
    ids = (
        tokenizer(f"{chat.before_reply} {refusal}", add_special_tokens=False).input_ids[start]
        for refusal in CURRENT_REFUSALS
    )
    return list(dict.fromkeys(ids))


@dataclass(frozen=True)
class FirstToken:
    """What is asked and known of a reply's first token: the ids that open refusals, and those that end a reply.

    Positions are vLLM's: a mapping from token id to something with `logprob`.
    """

    openers: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of_engine(cls, tokenizer, model_config) -> "FirstToken":
        """From the tokenizer and the ModelConfig of a vLLM engine."""
        from vllm import SamplingParams

        params = SamplingParams()
        params.update_from_generation_config(model_config.try_get_generation_config(), tokenizer.eos_token_id)
        chat = family_of_type(model_config.hf_config.model_type).chat
        return cls(refusal_openers(tokenizer, chat), sorted(params.all_stop_token_ids))

    def watched(self) -> dict[str, Any]:
        """SamplingParams of a reply that may open as it likes, for `answer_probability`."""
        return {"logprob_token_ids": list(self.openers)}

    def forbidden(self) -> dict[str, Any]:
        """SamplingParams of a reply that must not open like a refusal."""
        return {
            "min_tokens": 1,
            "stop_token_ids": list(self.openers),
            "include_stop_str_in_output": True,  # an opener within the answer belongs to it
            "logprob_token_ids": [*self.openers, *self.ends],
        }

    def answer_probability(self, position: Mapping[int, Any]) -> float:
        """1 - P(the first token opens a refusal)."""
        refusal = sum(exp(position[token].logprob) for token in self.openers if token in position)
        return min(1.0, max(0.0, 1.0 - refusal))

    def is_end(self, position: Mapping[int, Any], token: int) -> bool:
        """Whether the end was likelier than `token`, the most likely one of those that a forbidden opening allows.

        Then the greedy answer is empty: `min_tokens` forbids the end too, though nothing but a refusal is ruled out.
        """
        return any(position[end].logprob > position[token].logprob for end in self.ends)

    def is_cut(self, stop_reason: int | str | None) -> bool:
        """Whether a reply with a forbidden opening ended at an opener, where it has to go on."""
        return stop_reason in self.openers
