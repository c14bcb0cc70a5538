"""Stage: every method's answer to every test and calibration question, with how sure the method is -> SIGNAL rows.

The answers are forced: what the method says where it may not refuse. So each has a risk at any threshold, also where
the method by itself would have kept silent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.config.evaluation import UNTRAINED_METHODS
from inbol_ray.config.model import BaseModelConfig
from inbol_ray.config.sampling import ScoringRules
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.corpora.read import read_corpora, stream_tables
from inbol_ray.corpora.stage import CorporaSettings, in_toyworld, keep_questions, sources_of
from inbol_ray.method.prompts import REFUSALS_VERSION
from inbol_ray.models import DEFAULT_FAMILY, question_prompt
from inbol_ray.rows import Question, Rejected
from inbol_ray.runtime.stage import Stage, StageContext, present
from inbol_ray.runtime.work import ROW_BYTES, Sizes, Work
from inbol_ray.sampling.chat_engine import SAMPLE_TEMPERATURE, agreement_rate
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.sampling.generate import generate
from inbol_ray.sampling.settings import EngineSettings
from inbol_ray.sampling.vllm_engine import Decoding, Reply
from inbol_ray.scoring.outcome import SCORING_VERSION, judge_reply
from inbol_ray.store.row_writer import write_rows

SIGNAL = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("part", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("dataset", pa.string()),
        pa.field("answer_kind", pa.string()),
        pa.field("num_images", pa.int32()),
        pa.field("method", pa.string()),
        pa.field("checkpoint_digest", pa.string()),
        pa.field("response", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("agreement", pa.float64()),
        pa.field("wrong", pa.bool_()),
    ]
)
"""`part` is `test` or `calibration`; `confidence` is 1 - P(refusal) at the first token; `agreement` may be null."""

MEANING = ("id", "part", "domain", "method")
"""Columns that a request and its signal share."""
REQUEST = pa.schema(
    [(name, pa.string()) for name in (*MEANING, "checkpoint", "prompt")]
    + [("images", pa.list_(pa.string())), ("num_samples", pa.int32())]
)


@dataclass(frozen=True)
class SignalRounds:
    """A question's forced answer, then its samples."""

    def num_more(self, row: Mapping, reply: Reply) -> int:
        return 1 + row["num_samples"] - len(reply.texts)


class SignalSettings(EngineSettings):
    calibration: CorporaSettings
    """The calibration benchmarks."""
    methods: list[str]
    """Asked the calibration questions."""
    test_methods: list[str]
    """Asked the test questions."""
    num_samples: int
    max_tokens: int
    scoring: ScoringRules
    scoring_version: int = SCORING_VERSION
    correct_threshold: float
    base_model: BaseModelConfig
    refusals_version: int = REFUSALS_VERSION


def signals_stage(
    config: PipelineConfig,
    benchmarks: Stage,
    toyworld: Stage | None,
    original: Stage | None,
    methods: Mapping[str, Stage],
) -> Stage[SignalSettings]:
    """For a configuration with `calibration`. `methods`: the trained ones that are asked."""
    calibration = config.calibration
    return Stage(
        "signals",
        "measure how sure each method is",
        read_all_signals,
        version=1,
        settings=SignalSettings.of(
            config,
            calibration=CorporaSettings.of(calibration.benchmarks, config, "calibration.benchmarks"),
            methods=calibration.methods,
            test_methods=config.evaluation.methods,
            num_samples=calibration.num_samples,
            max_tokens=config.evaluation.max_tokens,
            scoring=config.scoring.rules_alone(),
            correct_threshold=config.sampling.correct_threshold,
            base_model=config.base_model,
        ),
        inputs=present(
            benchmarks=benchmarks,
            toyworld=toyworld if in_toyworld(calibration.benchmarks) else None,
            original=original,
            **methods,
        ),
        needs="engines",
        work=_work,
    )


def _work(settings: SignalSettings, sizes: Sizes) -> Work:
    calibrated = sizes.validation * len(settings.methods)
    answers = calibrated + sizes.test * len(settings.test_methods)
    samples = answers + calibrated * settings.num_samples
    return Work(
        "answers",
        answers,
        samples=samples,
        prompt_tokens=answers * sizes.prompt_tokens,
        response_tokens=samples * min(sizes.response_tokens, settings.max_tokens),
        bytes_written=answers * ROW_BYTES,
    )


def read_all_signals(context: StageContext[SignalSettings]) -> dict[str, int]:
    """Reads `benchmarks`, the calibration benchmarks and a checkpoint a method; writes `signals.parquet` (SIGNAL)."""
    settings = context.settings
    test = pq.read_table(context.inputs["benchmarks"] / "benchmarks.parquet").to_pylist()
    asked = [("test", row["domain"], Question.from_row(row)) for row in test]
    sources = sources_of(context, settings.calibration.corpora, settings.calibration.seed)
    for table in stream_tables(read_corpora(sources)):
        rows = keep_questions(context, table).to_pylist()
        asked += [("calibration", row["domain"], Question.from_row(row)) for row in rows]
    methods = {"test": settings.test_methods, "calibration": settings.methods}
    names = dict.fromkeys([*methods["test"], *methods["calibration"]])
    checkpoints = {
        name: context.checkpoint("original" if name in UNTRAINED_METHODS else name, settings.base_model)
        for name in names
    }
    digests = {path: model_digest(path) for path in set(checkpoints.values())}

    requests = pa.Table.from_pylist(list(_requests(context, asked, methods, checkpoints)), schema=REQUEST)
    parts = generate(
        [requests],
        list(digests),
        settings.pool(context.storage),
        Decoding(1, SAMPLE_TEMPERATURE, settings.max_tokens, force_first=True),
        folder=f"{context.resume}/signals",
        unit="answers",
        progress=context.progress,
        rounds=SignalRounds(),
    )
    num_rejected = context.rejected.total()
    questions = {(part, question.id): question for part, _domain, question in asked}
    signals = []
    for row in parts.rows():
        if row["reason"]:
            context.reject([Rejected(row["id"], f"signals:{row['method']}", row["reason"], row["detail"])])
            continue
        answer, *samples = row["responses"]
        question = questions[row["part"], row["id"]]
        outcome = judge_reply(answer, question, settings.correct_threshold, settings.scoring)
        signals.append(
            {name: row[name] for name in MEANING}
            | {
                "dataset": question.dataset,
                "answer_kind": question.answer_kind,
                "num_images": len(question.images),
                "checkpoint_digest": digests[row["checkpoint"]],
                "response": answer,
                "confidence": row["answer_probability"],
                "agreement": agreement_rate(answer, samples) if samples else None,
                # A forced reply that still says nothing is no answer either.
                "wrong": outcome.kind != "correct",
            }
        )
    signals.sort(key=lambda row: (row["part"], row["method"], row["id"]))
    num_signals = write_rows(context.folder / "signals.parquet", signals, SIGNAL)
    context.check_rows(requests.num_rows + num_rejected, num_signals)
    return {"signals": num_signals}


def _requests(
    context: StageContext[SignalSettings],
    asked: list[tuple[str, str, Question]],
    methods: dict[str, list[str]],
    checkpoints: dict[str, str],
) -> Iterator[dict]:
    """REQUEST rows. Methods on the same weights stand together: an engine loads each checkpoint about once."""
    for method in sorted(checkpoints, key=checkpoints.get):
        for part, domain, question in asked:
            if method in methods[part]:
                yield {
                    "id": question.id,
                    "part": part,
                    "domain": domain,
                    "method": method,
                    "checkpoint": checkpoints[method],
                    "prompt": question_prompt(
                        DEFAULT_FAMILY,
                        question,
                        context.settings.prompts,
                        refusal_instruction=method == "refusal_prompt",
                    ),
                    "images": question.images,
                    "num_samples": context.settings.num_samples if part == "calibration" else 0,
                }
