"""The corpora that the toy base model learns from: captions, then conversations, about scenes of its own.

They stand in for LLaVA's alignment and instruction data. Captions teach the language model to read image tokens, which
it otherwise takes thousands of steps to find; conversations hold answers in every phrasing, lettered choices, captions,
questions to write, yes/no judgements whether a question fits an image, and a few refusals under the refusal
instruction. Its scenes are drawn apart from every corpus's; facts follow a steeper tail, so rare ones stay unknown.
"""

from collections.abc import Container
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.config.model import PromptConfig
from inbol_ray.method.prompts import (
    GENERATE_ANSWERABLE,
    GENERATE_UNANSWERABLE,
    JUDGE_ANSWERABLE,
    JUDGE_NO,
    JUDGE_YES,
    REFUSALS,
    answer_text,
    render_question,
)
from inbol_ray.rows import CONVERSATION, Question
from inbol_ray.store.local_copies import job_storage
from inbol_ray.store.storage import reference_to
from inbol_ray.toyworld.questions import (
    HELD_OUT_FAMILY,
    KNOWLEDGE,
    PERCEPTION,
    UNSEEN,
    UNSEEN_HELD_OUT,
    ToyQuestion,
    ask,
    ask_unanswerable,
    with_choices,
)
from inbol_ray.toyworld.scenes import (
    COLOUR_NAMES,
    CREATURES,
    NUM_CELLS,
    SHAPES,
    Scene,
    SceneStyle,
    draw_scene,
    encode_png,
    render_scene,
)

PRETRAINING = SceneStyle(min_things=2, max_things=7, creature_zipf=1.2)
PRETRAINING_SEED = 21
FAMILIES = (*PERCEPTION, *KNOWLEDGE, HELD_OUT_FAMILY)
NUM_TURNS = 5
TURN_RATES = {
    "answer": 0.62,
    "choice": 0.16,
    "instructed_answer": 0.05,
    "instructed_refusal": 0.03,
    "judge": 0.08,
    "write": 0.06,
}
CAPTION_RATE = 0.1
CAPTION_PROMPT = "Describe the image."


def captioned_scenes(num_scenes: int, num_captioned: int) -> set[int]:
    """The scenes that have a caption. Scenes are all drawn alike, so that any will do: the first in the order of their ids
    as text."""
    return set(sorted(range(num_scenes), key=str)[:num_captioned])


def write_conversations(
    root: Path,
    start: int,
    stop: int,
    seed: int,
    prompts: PromptConfig,
    captioned: Container[int],
    uri: str | None = None,
) -> Path:
    """Write scenes `start` to `stop`: `images-*.bin`, `conversations-*.parquet`, and of those in `captioned`
    `captions-*.parquet`.

    Returns the path of the conversations. Conversation k depends on (seed, k) alone, so any split into files gives the
    same corpus. Image references start with `uri`, where the folder is going to be read; by default `root`.
    """
    root.mkdir(parents=True, exist_ok=True)
    images_path = root / f"images-{start:07d}.bin"
    reference = reference_to(f"{uri or root}/{images_path.name}", job_storage())
    conversations, captions = [], []
    offset = 0
    with open(images_path, "wb") as images:
        for index in range(start, stop):
            rng = np.random.default_rng([seed, PRETRAINING_SEED, index])
            scene = draw_scene(rng, PRETRAINING)
            data = encode_png(render_scene(scene))
            images.write(data)
            images_column = [f"{reference}#{offset}:{len(data)}"]
            offset += len(data)
            written = [(conversations, "instruct", draw_turns(rng, scene, prompts))]
            if index in captioned:
                written.append((captions, "caption", [_caption_turn(scene)]))
            for rows, name, turns in written:
                rows.append({"id": f"{name}:train:{index}", "images": images_column, "turns": turns, "knowledge": None})
    pq.write_table(pa.Table.from_pylist(captions, schema=CONVERSATION), root / f"captions-{start:07d}.parquet")
    path = root / f"conversations-{start:07d}.parquet"
    pq.write_table(pa.Table.from_pylist(conversations, schema=CONVERSATION), path)
    return path


def draw_turns(rng: np.random.Generator, scene: Scene, prompts: PromptConfig) -> list[dict[str, str]]:
    with_caption = rng.random() < CAPTION_RATE
    # A caption is as long as two turns: conversations of one length leave little padding in a batch.
    num_turns = NUM_TURNS - 2 if with_caption else NUM_TURNS
    kinds = rng.choice(list(TURN_RATES), num_turns, p=list(TURN_RATES.values()))
    turns = [_draw_turn(rng, scene, str(kind), prompts) for kind in kinds]
    return [*turns, _caption_turn(scene)] if with_caption else turns


def _caption_turn(scene: Scene) -> dict[str, str]:
    return {"user": CAPTION_PROMPT, "assistant": describe(scene)}


def _draw_turn(rng: np.random.Generator, scene: Scene, kind: str, prompts: PromptConfig) -> dict[str, str]:
    instructed = kind.startswith("instructed")
    if kind == "instructed_refusal":
        question = _unanswerable(rng, scene, UNSEEN[:2] + UNSEEN_HELD_OUT[:2])
        return {"user": _user(question, prompts, True), "assistant": REFUSALS[1][0]}
    if kind == "judge":
        answerable = rng.random() < 0.5
        question = _answerable(rng, scene) if answerable else _unanswerable(rng, scene, UNSEEN + UNSEEN_HELD_OUT)
        user = JUDGE_ANSWERABLE.format(question=question.text)
        return {"user": user, "assistant": JUDGE_YES if answerable else JUDGE_NO}
    if kind == "write":
        if rng.random() < 0.5:
            return {"user": GENERATE_ANSWERABLE, "assistant": _answerable(rng, scene).text}
        question = _unanswerable(rng, scene, UNSEEN)
        return {"user": GENERATE_UNANSWERABLE, "assistant": question.text}
    question = _answerable(rng, scene)
    if kind == "choice":
        question = with_choices(rng, question, int(rng.integers(3, 5)))
    return {"user": _user(question, prompts, instructed), "assistant": answer_text(_as_row(question))}


def _answerable(rng: np.random.Generator, scene: Scene) -> ToyQuestion:
    while True:
        question = ask(rng, scene, FAMILIES[int(rng.integers(len(FAMILIES)))], int(rng.integers(3)))
        if question is not None:
            return question


def _unanswerable(rng: np.random.Generator, scene: Scene, templates: tuple[str, ...]) -> ToyQuestion:
    while True:
        question = ask_unanswerable(rng, scene, int(rng.integers(3)), templates)
        if question is not None:
            return question


def _as_row(question: ToyQuestion) -> Question:
    choices = list(question.choices)
    return Question(
        id="",
        dataset="instruct",
        split="train",
        images=[],
        question=question.text,
        answer_kind="mc" if choices else "open",
        gold_answers=[question.answer] if question.answer else [],
        choices=choices,
        gold_index=choices.index(question.answer) if choices else None,
    )


def _user(question: ToyQuestion, prompts: PromptConfig, instructed: bool) -> str:
    return render_question(_as_row(question), prompts, refusal_instruction=instructed)


def describe(scene: Scene) -> str:
    """A caption: each cell in reading order."""
    things = {thing.cell: f"{COLOUR_NAMES[thing.colour]} {SHAPES[thing.shape]}" for thing in scene.things}
    if scene.creature is not None:
        things[scene.creature_cell] = f"creature {CREATURES[scene.creature]}"
    return " ".join(things.get(cell, "empty") for cell in range(NUM_CELLS))
