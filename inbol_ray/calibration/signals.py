"""Stage: every method's answer to every test and calibration question, with how sure the method is -> SIGNAL rows.

The answers are forced: what the method says where it may not refuse. So each has a risk at any threshold, also where
the method by itself would have kept silent.
"""

import asyncio
import os

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data

from inbol_ray.artifacts import StageContext
from inbol_ray.cluster_resources import engine_resources, place_engines
from inbol_ray.config.evaluation import UNTRAINED_METHODS
from inbol_ray.config.machines import EngineConfig
from inbol_ray.corpora.read import read_corpora, stream_tables
from inbol_ray.corpora.stage import corpus_source, keep_questions
from inbol_ray.images import ImageError, load_images
from inbol_ray.progress import write_progress
from inbol_ray.prompts import chat_prompt, render_question
from inbol_ray.row_writer import write_rows
from inbol_ray.rows import Question, Rejected
from inbol_ray.sampling.chat_engine import ChatEngine, EngineDead, Prompt, PromptRefused, read_signals
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.scoring.outcome import judge_reply

SIGNAL = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("part", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("method", pa.string()),
        pa.field("checkpoint_digest", pa.string()),
        pa.field("response", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("agreement", pa.float64()),
        pa.field("wrong", pa.bool_()),
    ]
)
"""`part` is `test` or `calibration`; `confidence` is 1 - P(refusal) at the first token; `agreement` may be null."""
MAX_CONCURRENT = 128


def read_all_signals(context: StageContext) -> dict[str, int]:
    """Reads `questions`, the calibration benchmarks and a checkpoint a method; writes `signals.parquet` (SIGNAL)."""
    config = context.config
    test = pq.read_table(context.inputs["questions"] / "benchmarks.parquet").to_pylist()
    asked = [("test", row["domain"], Question.from_row(row)) for row in test]
    toyworld, image_folder = context.input_uris.get("toyworld"), f"{context.uri}/images"
    sources = [corpus_source(corpus, config, toyworld, image_folder) for corpus in config.calibration.benchmarks]
    for table in stream_tables(read_corpora(sources)):
        rows = keep_questions(context, table).to_pylist()
        asked += [("calibration", row["domain"], Question.from_row(row)) for row in rows]
    methods = {"test": config.evaluation.methods, "calibration": config.calibration.methods}
    names = dict.fromkeys([*methods["test"], *methods["calibration"]])
    checkpoints = {name: context.checkpoint("original" if name in UNTRAINED_METHODS else name) for name in names}
    digests = {path: model_digest(path) for path in set(checkpoints.values())}

    meanings, requests = {}, []
    # Methods on the same weights stand together, so that each engine loads each checkpoint about once.
    for method in sorted(names, key=checkpoints.get):
        for part, domain, question in asked:
            if method not in methods[part]:
                continue
            user = render_question(question, config.prompts, refusal_instruction=method == "refusal_prompt")
            meanings[len(requests)] = (part, domain, method, question)
            requests.append(
                {
                    "request": len(requests),
                    "checkpoint": checkpoints[method],
                    "prompt": chat_prompt(user, num_images=len(question.images)),
                    "images": question.images,
                    "num_samples": config.calibration.num_samples if part == "calibration" else 0,
                }
            )
    num_rejected = context.rejected.total()
    signals = []
    for row in _read(context, pa.Table.from_pylist(requests)):
        part, domain, method, question = meanings[row["request"]]
        if row["reason"]:
            context.reject([Rejected(question.id, f"signals:{method}", row["reason"], row["detail"])])
            continue
        outcome = judge_reply(row["response"], question, config.sampling.correct_threshold, config.scoring)
        signals.append(
            {
                "id": question.id,
                "part": part,
                "domain": domain,
                "method": method,
                "checkpoint_digest": digests[checkpoints[method]],
                "response": row["response"],
                "confidence": row["confidence"],
                "agreement": row["agreement"],
                # A forced reply that still says nothing is no answer either.
                "wrong": outcome.kind != "correct",
            }
        )
    signals.sort(key=lambda row: (row["part"], row["method"], row["id"]))
    num_signals = write_rows(context.folder / "signals.parquet", signals, SIGNAL)
    context.check_rows(len(requests) + num_rejected, num_signals)
    return {"signals": num_signals}


def _read(context: StageContext, requests: pa.Table) -> list[dict]:
    engine = place_engines(context.config.engine)
    resources = engine_resources(engine)
    dataset = (
        ray.data.from_arrow(requests)
        .repartition(target_num_rows_per_block=engine.batch_size)
        .map_batches(
            SignalBatch,
            fn_constructor_args=(
                engine.model_dump(),
                context.config.seed,
                context.config.evaluation.max_tokens,
                context.progress,
                requests.num_rows,
            ),
            batch_format="pyarrow",
            batch_size=engine.batch_size,
            compute=ray.data.ActorPoolStrategy(size=engine.num_engines),
            num_cpus=resources["CPU"],
            num_gpus=resources.get("GPU"),
        )
    )
    return dataset.take_all()


class SignalBatch:
    """A Ray Data actor with one engine: `checkpoint`, `prompt`, `images`, `num_samples` -> the signals of each row."""

    def __init__(self, engine: dict, seed: int, max_tokens: int, progress: str | None, total: int) -> None:
        self._config, self._seed, self._max_tokens = EngineConfig(**engine), seed, max_tokens
        self._progress, self._total, self._done = progress, total, 0
        self._runner = asyncio.Runner()
        self._engine: ChatEngine | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        try:
            found = self.read(batch.to_pylist())
        except EngineDead:
            os._exit(1)  # Ray Data starts another actor and gives it the batch
        self._done += len(found)
        write_progress(self._progress, self._done, self._total, "answers")
        return pa.Table.from_pylist(found, schema=_FOUND)

    def read(self, rows: list[dict]) -> list[dict]:
        """The signals of rows, in any order. Raises EngineDead."""
        return self._runner.run(self._read_rows(rows))

    async def _read_rows(self, rows: list[dict]) -> list[dict]:
        slots = asyncio.Semaphore(MAX_CONCURRENT)
        found = []
        for checkpoint in dict.fromkeys(row["checkpoint"] for row in rows):
            if self._engine is None:
                self._engine = ChatEngine(checkpoint, self._config, self._seed)
            await self._engine.load(checkpoint)
            same = [row for row in rows if row["checkpoint"] == checkpoint]
            found += await asyncio.gather(*(self._read_row(row, slots) for row in same))
        return found

    async def _read_row(self, row: dict, slots: asyncio.Semaphore) -> dict:
        nothing = {"request": row["request"], "response": "", "confidence": None, "agreement": None}
        async with slots:
            try:
                prompt = Prompt(row["prompt"], load_images(row["images"]))
                answer, agreement = await read_signals(self._engine, prompt, self._max_tokens, row["num_samples"])
            except ImageError as error:
                return nothing | {"reason": "unreadable_image", "detail": str(error)}
            except PromptRefused as error:
                return nothing | {"reason": "prompt_refused", "detail": str(error)}
        found = {"response": answer.text.strip(), "confidence": answer.confidence, "agreement": agreement}
        return nothing | found | {"reason": "", "detail": ""}


_FOUND = pa.schema(
    [
        pa.field("request", pa.int64()),
        pa.field("response", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("agreement", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
