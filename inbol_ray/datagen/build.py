"""Stage: SampledAnswers -> `sft.parquet`, `idk.parquet` (CONVERSATION) and `preferences.parquet` (PREFERENCE_SET)."""

from collections import Counter

import pyarrow.parquet as pq

from inbol_ray.artifacts import StageContext
from inbol_ray.confidence.classes import classify
from inbol_ray.datagen.idk_instructions import build_idk_instruction, build_sft_example
from inbol_ray.datagen.preference_pairs import build_preference_set
from inbol_ray.row_writer import write_rows
from inbol_ray.rows import CONVERSATION, PREFERENCE_SET, Question


def build_data(context: StageContext) -> dict[str, int]:
    """Reads `confidence`."""
    config = context.config
    answers = pq.read_table(context.inputs["confidence"] / "answers.parquet")
    sft, idk, preferences = [], [], []
    classes: Counter[str] = Counter()
    for row in answers.to_pylist():
        question = Question.from_row(row)
        knowledge = classify(row["confidence"], question.answerable, config.classes)
        classes[knowledge] += 1
        sft.append(build_sft_example(question, knowledge, config.prompts, config.seed))
        idk.append(
            build_idk_instruction(question, knowledge, row["responses"], row["outcomes"], config.prompts, config.seed)
        )
        preferences.append(
            build_preference_set(
                question,
                knowledge,
                row["confidence"],
                row["responses"],
                row["outcomes"],
                config.prompts,
                config.seed,
            )
        )
    counts = {
        name: write_rows(context.folder / f"{name}.parquet", filter(None, rows), schema)
        for name, rows, schema in (
            ("sft", sft, CONVERSATION),
            ("idk", idk, CONVERSATION),
            ("preferences", preferences, PREFERENCE_SET),
        )
    }
    return {name: classes[name] for name in ("known", "mixed", "unknown")} | counts
