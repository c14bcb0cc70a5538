"""The rows that travel between stages, and their Arrow schemas.

Every row carries the question's `id`, `{dataset}:{split}:{native id}`, from the reader to the report, so a
figure in the report can be traced to the line of the annotation file that it came from.

Question -> SampledAnswers -> Confidence -> (Conversation | PreferenceSet) -> Prediction
"""

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

AnswerKind = Literal["vqa10", "mc", "open", "entity", "exact"]
OutcomeKind = Literal["correct", "wrong", "refused", "error"]
Knowledge = Literal["known", "mixed", "unknown"]

KNOWLEDGE_CLASSES: tuple[str, ...] = ("known", "mixed", "unknown")
RESPONSES = ("correct", "incorrect", "refusal")
PAIRS = (("correct", "refusal"), ("correct", "incorrect"), ("refusal", "incorrect"))
"""(preferred, rejected) responses of a preference; a PREFERENCE_SET has a weight column for each."""
OUTCOMES: tuple[str, ...] = ("correct", "wrong", "refused", "error")
OWN_DATASET = "own"
MADE_DATASETS = ("mismatch", "generated")
"""Of questions that no corpus holds: their ids end in the id of the question whose image they show, with `_` for
`:`."""


@dataclass(slots=True)
class Question:
    """One question about one or more images, as every corpus reader yields it.

    `images` are paths or URIs, in prompt order: pixels are read by the stage that needs them. `gold_answers` holds
    every human answer or accepted name, `choices` and `gold_index` only apply to `answer_kind="mc"`. `answerable`
    is None where the corpus does not say. `meta` is a JSON object of what else the corpus knows.
    """

    id: str
    dataset: str = OWN_DATASET
    split: str = "test"
    images: list[str] = field(default_factory=list)
    question: str = ""
    answer_kind: AnswerKind = "open"
    gold_answers: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    gold_index: int | None = None
    hint: str | None = None
    answerable: bool | None = None
    meta: str = "{}"

    def to_row(self) -> dict:
        return {name: getattr(self, name) for name in self.__slots__}  # `asdict` would copy every list, 40% of a read

    @classmethod
    def from_row(cls, row: dict) -> "Question":
        """Build from a mapping that may hold further columns and NumPy arrays in place of lists."""
        gold_index = row.get("gold_index")
        return cls(
            id=row["id"],
            dataset=row["dataset"],
            split=row["split"],
            images=list(row["images"]),
            question=row["question"],
            answer_kind=row["answer_kind"],
            gold_answers=list(row["gold_answers"]),
            choices=list(row["choices"]),
            gold_index=None if gold_index is None or gold_index != gold_index else int(gold_index),
            hint=row.get("hint"),
            answerable=row.get("answerable"),
            meta=row.get("meta", "{}"),
        )


def shows_own_image(row_id: str) -> bool:
    """Whether a row is about a picture of the user's own corpus, by its id.

    So are `own:train:7` and what was made of it, `mismatch:train:own_train_7+vqav2_train_1` and
    `generated:train:own_train_7`; no other corpus's name starts with `own`.
    """
    dataset, _, rest = row_id.partition(":")
    if dataset in MADE_DATASETS:
        return rest.partition(":")[2].startswith(f"{OWN_DATASET}_")
    return dataset == OWN_DATASET


@dataclass(slots=True)
class Rejected:
    """A row that a stage could not use. `reason` is a short fixed slug to count by, `detail` the full sentence."""

    id: str
    source: str
    reason: str
    detail: str

    def to_row(self) -> dict:
        return {name: getattr(self, name) for name in self.__slots__}


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in fields])


STRINGS = pa.list_(pa.string())

QUESTION = _schema(
    ("id", pa.string()),
    ("dataset", pa.string()),
    ("split", pa.string()),
    ("images", STRINGS),
    ("question", pa.string()),
    ("answer_kind", pa.string()),
    ("gold_answers", STRINGS),
    ("choices", STRINGS),
    ("gold_index", pa.int32()),
    ("hint", pa.string()),
    ("answerable", pa.bool_()),
    ("meta", pa.string()),
)
"""`Question`, column for column."""

REJECTED = _schema(("id", pa.string()), ("source", pa.string()), ("reason", pa.string()), ("detail", pa.string()))
"""`Rejected`, column for column."""

SAMPLED_ANSWERS = pa.unify_schemas(
    [
        QUESTION,
        _schema(
            ("responses", STRINGS),
            ("outcomes", STRINGS),
            ("scores", pa.list_(pa.float32())),
            ("token_logprobs", pa.list_(pa.list_(pa.float32()))),
            ("confidence", pa.float32()),
            ("self_consistency", pa.float32()),
            ("likelihood", pa.float32()),
            ("checkpoint", pa.string()),
        ),
    ]
).with_metadata({"schema": "sampled_answers/2"})
"""A question with its sampled responses; outcome, score in [0, 1] and token log-probabilities of each; and three
estimates of what the model knows, in [0, 1]: confidence = correct / samples, and the two of `confidence.estimators`,
which need no reference answer."""

TURN = pa.struct([("user", pa.string()), ("assistant", pa.string())])

CONVERSATION = _schema(("id", pa.string()), ("images", STRINGS), ("turns", pa.list_(TURN)), ("knowledge", pa.string()))
"""A supervised example (IDK-IT, SFT, visual instruction): the loss is on every `assistant` text."""

PREFERENCE_SET = _schema(
    ("id", pa.string()),
    ("images", STRINGS),
    ("user", pa.string()),
    ("correct", pa.string()),
    ("incorrect", pa.string()),
    ("refusal", pa.string()),
    ("knowledge", pa.string()),
    ("confidence", pa.float32()),
)
"""One CA-DPO sample: up to three responses, and what the weights of their pairs follow from
(`method.preference_pairs.add_pair_weights`)."""

PREDICTION = _schema(
    ("id", pa.string()),
    ("group", pa.string()),
    ("pair", pa.string()),
    ("benchmark", pa.string()),
    ("domain", pa.string()),
    ("classes", pa.string()),
    ("method", pa.string()),
    ("seed", pa.int32()),
    ("checkpoint", pa.string()),
    ("images", STRINGS),
    ("question", pa.string()),
    ("gold_answers", STRINGS),
    ("answerable", pa.bool_()),
    ("response", pa.string()),
    ("outcome", pa.string()),
    ("unparsed", pa.bool_()),
    ("score", pa.float32()),
    ("by_rule", pa.struct([("official", pa.string()), ("ours", pa.string()), ("free_text", pa.string())])),
    ("base_confidence", pa.float32()),
    ("confidence", pa.float64()),
)
"""One greedy reply of one method to one test question. `base_confidence` is null where it was not sampled.
`confidence`, the chance in [0, 1] that an answer is right, came with it from its file or its endpoint; elsewhere it is
null.

`by_rule` is the outcome under each of the rules of `scoring.rules`, whichever gave `outcome`; null where it was not
judged so. `group` is null but for rotations of one question (MMBench, MM-UPD), which share it; the unrotated one has it
as its `id`. `pair` is null but for questions of which all must be right to count (MM-UPD's standard question and its
unsolvable twin). `classes` is a JSON object of what the benchmark breaks its results down by, for example `{"subject":
"Art"}`.
"""
