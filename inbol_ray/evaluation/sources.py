"""Where the replies of a model come from: the one place that chooses, by what `evaluation.models` (or a method) names.

(Model, benchmark row) pairs -> [one function a source] -> a GreedyReply each, in the same order

A file of replies is no source here: nothing is asked, and its rows are matched with questions first
(`file_predictions`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.evaluation import OutsideModel, Source
from inbol_ray.config.model import PromptConfig
from inbol_ray.endpoints.answer import answer_requests as answer_at_endpoint
from inbol_ray.evaluation.prediction_row import GreedyReply
from inbol_ray.evaluation.replies import answer_requests, endpoint_keys, fetch_replies, request_keys
from inbol_ray.method.prompts import render_question
from inbol_ray.models import DEFAULT_FAMILY, question_prompt
from inbol_ray.rows import Question
from inbol_ray.sampling.generate import Pool
from inbol_ray.sampling.vllm_engine import Decoding


@dataclass(frozen=True)
class Model:
    """What answers, with or without the refusal prompt. `outside` says where its replies come from."""

    name: str
    outside: OutsideModel
    checkpoint: str
    """What results name as the origin of its replies: a checkpoint's folder or hub name, or another source's name."""

    @property
    def refusal_instruction(self) -> bool:
        return self.outside.refusal_instruction


@dataclass(frozen=True)
class Asking:
    """How questions are asked; `folder` is the store of replies, `progress` the artifact that they are for."""

    prompts: PromptConfig
    max_tokens: int
    pool: Pool
    folder: str
    progress: str | None = None


Asked = Sequence[tuple[Model, dict]]
"""Who is asked what: (model, BENCHMARK_QUESTION row) pairs."""


def checkpoint_model(name: str, checkpoint: str, *, refusal_instruction: bool = False) -> Model:
    return Model(name, OutsideModel(checkpoint=checkpoint, refusal_instruction=refusal_instruction), checkpoint)


def outside_models(models: Mapping[str, OutsideModel]) -> list[Model]:
    """Those of `evaluation.models` that are asked."""
    return [
        Model(name, model, model.endpoint.name if model.endpoint else resolve_checkpoint(model.checkpoint))
        for name, model in models.items()
        if model.source in SOURCES
    ]


def resolve_checkpoint(checkpoint: str) -> str:
    """Engines run in other folders than the driver; a hub name stays as it is."""
    return str(Path(checkpoint).resolve()) if Path(checkpoint).is_dir() else checkpoint


def find_replies(asked: Asked, asking: Asking) -> list[GreedyReply]:
    """A reply for each pair, in order; replies that were stored before are not asked for again.

    Raises what the sources raise; replies that have come are kept.
    """
    replies: dict[int, GreedyReply] = {}
    for source, answer in SOURCES.items():
        places = [place for place, (model, _) in enumerate(asked) if model.outside.source == source]
        if places:
            found = answer([asked[place] for place in places], asking)
            replies |= zip(places, found, strict=True)
    return [replies[place] for place in range(len(asked))]


def _ask_checkpoints(asked: Asked, asking: Asking) -> list[GreedyReply]:
    columns: dict[str, list] = {"id": [], "checkpoint": [], "prompt": [], "images": []}
    for model, row in asked:
        question = Question.from_row(row)
        columns["id"].append(row["id"])
        columns["checkpoint"].append(model.checkpoint)
        columns["prompt"].append(
            question_prompt(DEFAULT_FAMILY, question, asking.prompts, refusal_instruction=model.refusal_instruction)
        )
        columns["images"].append(row["images"])
    kinds = {"id": pa.string(), "checkpoint": pa.string(), "prompt": pa.string(), "images": pa.list_(pa.string())}
    requests = pa.table(columns, schema=pa.schema(kinds.items()))
    decoding = Decoding(1, 0.0, asking.max_tokens)
    keys = request_keys(requests, asking.pool.engine, decoding)
    keyed = requests.append_column("key", keys)
    replies = answer_requests(keyed, asking.pool, decoding, folder=asking.folder, progress=asking.progress)
    return [replies[key] for key in keys.to_pylist()]


def _ask_endpoints(asked: Asked, asking: Asking) -> list[GreedyReply]:
    """The text that checkpoints get, without their chat layout; the server puts its model's own around it."""
    by_endpoint: dict[str, list[int]] = {}
    for place, (model, _) in enumerate(asked):
        by_endpoint.setdefault(model.outside.endpoint.model_dump_json(), []).append(place)
    replies: dict[int, GreedyReply] = {}
    for places in by_endpoint.values():
        endpoint = asked[places[0]][0].outside.endpoint
        users = [_user_text(*asked[place], asking.prompts) for place in places]
        images = [asked[place][1]["images"] for place in places]
        ids = [asked[place][1]["id"] for place in places]
        found = ask_endpoint(endpoint, ids, users, images, asking)
        replies |= zip(places, found, strict=True)
    return [replies[place] for place in range(len(asked))]


def _user_text(model: Model, row: dict, prompts: PromptConfig) -> str:
    question = Question.from_row(row)
    user = render_question(question, prompts, refusal_instruction=model.refusal_instruction)
    return DEFAULT_FAMILY.chat.clean(user)


def ask_endpoint(
    endpoint: EndpointConfig,
    ids: Sequence[str],
    users: Sequence[str],
    images: Sequence[Sequence[str]],
    asking: Asking,
) -> list[GreedyReply]:
    """The greedy reply to each text with its images, under the system text; stored ones are not asked for again.

    Raises EndpointError.
    """
    decoding = Decoding(1, 0.0, asking.max_tokens)
    columns = {
        "id": pa.array(ids, pa.string()),
        "checkpoint": pa.array([endpoint.name] * len(ids), pa.string()),
        "user": pa.array(users, pa.string()),
        "system": pa.array([asking.prompts.system] * len(ids), pa.string()),
        "images": pa.array(images, pa.list_(pa.string())),
    }
    requests = pa.table(columns)
    keys = endpoint_keys(requests, endpoint, decoding)
    failures: dict[str, str] = {}

    def ask(missing: pa.Table) -> None:
        failures.update(
            answer_at_endpoint(
                missing,
                endpoint,
                decoding,
                asking.pool.storage,
                folder=asking.folder,
                unit=f"replies of {endpoint.model}",
                progress=asking.progress,
            )
        )

    replies = fetch_replies(requests.append_column("key", keys), asking.folder, asking.pool.storage, ask)
    no_reply = {key: GreedyReply("", "no_reply", why) for key, why in failures.items()}
    replies = no_reply | replies
    return [replies[key] for key in keys.to_pylist()]


SOURCES: dict[Source, Callable[[Asked, Asking], list[GreedyReply]]] = {
    "checkpoint": _ask_checkpoints,
    "endpoint": _ask_endpoints,
}
"""By the field of `OutsideModel` that is set; `replies` is not asked."""
