"""What endpoints were asked for a set of predictions: requests, tokens and cost.

(Model, row) pairs with their replies -> one JSON object per endpoint model -> `usage.json`

Tokens are those that the servers told of the replies in use, whichever run asked for them. Tries that failed, and what
was under way in a killed run, are not in it, so a bill may be higher. Two models that ask the same questions of one
server share the replies; each counts them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.evaluation.prediction_row import GreedyReply
from inbol_ray.evaluation.sources import Model

USAGE = "usage.json"


def count_usage(asked: Sequence[tuple[Model, dict]], replies: Sequence[GreedyReply]) -> list[dict]:
    """By model behind an endpoint: `requests`, `rejected`, `input_tokens`, `output_tokens`, `untold` (replies without
    token numbers), `cut_off` (by max_tokens), `told_refusals` (by the server itself) and `cost`, None without prices.
    """
    members: dict[str, tuple[EndpointConfig, list[GreedyReply]]] = {}
    for (model, _), reply in zip(asked, replies, strict=True):
        if model.outside.endpoint is not None:
            members.setdefault(model.name, (model.outside.endpoint, []))[1].append(reply)
    return [_count(name, endpoint, given) for name, (endpoint, given) in sorted(members.items())]


def _count(name: str, endpoint: EndpointConfig, replies: Sequence[GreedyReply]) -> dict:
    answered = [reply for reply in replies if not reply.reason]
    input_tokens = sum(reply.input_tokens or 0 for reply in answered)
    output_tokens = sum(reply.output_tokens or 0 for reply in answered)
    prices = endpoint.price_per_million_input_tokens, endpoint.price_per_million_output_tokens
    return {
        "model": name,
        "endpoint": endpoint.name,
        "requests": len(replies),
        "rejected": len(replies) - len(answered),
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "untold": sum(reply.input_tokens is None or reply.output_tokens is None for reply in answered),
        "cut_off": sum(reply.finish == "length" for reply in answered),
        "told_refusals": sum(reply.finish == "refusal" for reply in answered),
        "cost": None if None in prices else (input_tokens * prices[0] + output_tokens * prices[1]) / 1e6,
    }


def total_usage(usage: Sequence[Mapping]) -> dict[str, float]:
    """A stage's counts: tokens, and the cost of the models with a price; nothing where no endpoint was asked."""
    if not usage:
        return {}
    costs = [row["cost"] for row in usage if row["cost"] is not None]
    counts = {key: sum(row[key] for row in usage) for key in ("input_tokens", "output_tokens")}
    return counts | ({"cost": round(sum(costs), 4)} if costs else {})


def write_usage(usage: Sequence[Mapping], folder: Path) -> None:
    if usage:
        (folder / USAGE).write_text(json.dumps(usage, indent=1) + "\n")


def read_usage(folder: Path) -> list[dict]:
    """What `write_usage` wrote; empty where no endpoint was asked."""
    path = folder / USAGE
    return json.loads(path.read_text()) if path.exists() else []
