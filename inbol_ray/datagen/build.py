"""Stage: SampledAnswers -> `sft.parquet`, `idk.parquet` (CONVERSATION) and `preferences.parquet` (PREFERENCE_SET)."""

from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.config.model import PromptConfig
from inbol_ray.config.sampling import BalanceConfig, ClassConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import Section
from inbol_ray.datagen.balance import balanced
from inbol_ray.method.classes import classify
from inbol_ray.method.idk_instructions import build_idk_instruction, build_sft_example
from inbol_ray.method.preference_pairs import build_preference_set
from inbol_ray.method.prompts import PROMPTS_VERSION
from inbol_ray.rows import CONVERSATION, KNOWLEDGE_CLASSES, PREFERENCE_SET, Question
from inbol_ray.runtime.stage import Stage, StageContext
from inbol_ray.runtime.work import RESPONSE_BYTES, ROW_BYTES, Sizes, Work
from inbol_ray.store.row_writer import write_rows


class DataSettings(Section):
    classes: ClassConfig
    balance: BalanceConfig
    prompts: PromptConfig
    prompts_version: int = PROMPTS_VERSION
    seed: int


def data_stage(config: PipelineConfig, confidence: Stage) -> Stage[DataSettings]:
    return Stage(
        "data",
        "build IDK and preference data",
        build_data,
        version=1,
        settings=DataSettings(classes=config.classes, balance=config.balance, prompts=config.prompts, seed=config.seed),
        inputs={"confidence": confidence},
        work=_work,
    )


def _work(_: DataSettings, sizes: Sizes) -> Work:
    return Work("questions", sizes.data, bytes_written=3 * sizes.data * (ROW_BYTES + 3 * RESPONSE_BYTES))


def build_data(context: StageContext[DataSettings]) -> dict[str, int]:
    """Reads `confidence`."""
    config = context.settings
    answers = pq.read_table(context.inputs["confidence"] / "answers.parquet")
    found = [
        classify(confidence, answerable, config.classes)
        for confidence, answerable in zip(
            *(answers[name].to_pylist() for name in ("confidence", "answerable")), strict=True
        )
    ]
    ids, corpora = (answers[name].to_pylist() for name in ("id", "dataset"))
    kept = balanced(ids, found, corpora, config.balance, config.seed)
    classes = Counter(found[place] for place in kept)
    sft, idk, preferences = [], [], []
    for place, row in zip(kept, answers.take(pa.array(kept, pa.int64())).to_pylist(), strict=True):
        question, knowledge = Question.from_row(row), found[place]
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
    left_out = Counter(found) - classes
    cut = {f"{name}_left_out": left_out[name] for name in KNOWLEDGE_CLASSES} if config.balance.classes else {}
    return {name: classes[name] for name in KNOWLEDGE_CLASSES} | cut | counts
