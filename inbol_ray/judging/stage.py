"""Stage: a model's verdicts on the replies of an evaluation -> VERDICT rows.

predictions + questions -> prompts -> [the store of replies, an engine or an endpoint] -> `verdicts.parquet`

Verdicts are replies like others and lie in the same store, so one is asked for again only where the judge, the prompt
or the judged reply is another.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from inbol_ray.config.judge import JudgeConfig, Verdict
from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.config.sampling import ScoringRules
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import Section
from inbol_ray.evaluation.prediction_row import GreedyReply
from inbol_ray.evaluation.replies import answer_requests, request_keys
from inbol_ray.evaluation.sources import Asking, ask_endpoint, resolve_checkpoint
from inbol_ray.judging.prompt import JUDGE_PROMPT_VERSION, judge_prompt, read_verdict
from inbol_ray.judging.select import kinds_to_ask
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import Question
from inbol_ray.runtime.stage import Stage, StageContext
from inbol_ray.sampling.generate import SAMPLING_VERSION, Pool
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.scoring.final_text import final_text
from inbol_ray.scoring.outcome import REFUSED, SCORING_VERSION, Outcome, judge_answer
from inbol_ray.store.row_writer import write_rows

VERDICT = pa.schema(
    [
        ("id", pa.string()),
        ("method", pa.string()),
        ("benchmark", pa.string()),
        ("kind", pa.string()),
        ("judge", pa.string()),
        ("prompt_version", pa.int32()),
        ("rule", pa.bool_()),
        ("verdict", pa.bool_()),
        ("said", pa.string()),
        ("outcome", pa.string()),
        ("unparsed", pa.bool_()),
    ]
)
"""One question to the judge. `rule` and `verdict` are whether the reply refuses (kind `refusal`) or is right (kind
`correctness`), as the rules and as the judge have it; `verdict` is null where the judge said anything but its words,
which `said` holds. `outcome` and `unparsed` are the reply's own once all verdicts on it count."""


class JudgeSettings(Section):
    judge: JudgeConfig
    judge_prompt_version: int = JUDGE_PROMPT_VERSION
    scoring: ScoringRules
    scoring_version: int = SCORING_VERSION
    correct_threshold: float
    engine: EngineConfig | None
    sampling_version: int | None
    seed: int | None
    """All three null for a judge behind an endpoint."""


def judge_stage(config: PipelineConfig, evaluate: Stage, benchmarks: Stage) -> Stage[JudgeSettings]:
    """For a configuration with `scoring.judge`."""
    judge = config.scoring.judge
    by_checkpoint = judge.checkpoint is not None
    return Stage(
        "judge",
        "ask a judge about the replies",
        judge_predictions,
        version=1,
        settings=JudgeSettings(
            judge=judge,
            scoring=config.scoring.rules_alone(),
            correct_threshold=config.sampling.correct_threshold,
            engine=config.engine if by_checkpoint else None,
            sampling_version=SAMPLING_VERSION if by_checkpoint else None,
            seed=config.seed if by_checkpoint else None,
        ),
        inputs={"evaluate": evaluate, "benchmarks": benchmarks},
        needs="engines" if by_checkpoint else "tasks",
    )


def judge_predictions(context: StageContext[JudgeSettings]) -> dict[str, int]:
    """Reads `evaluate` and `benchmarks`, writes `verdicts.parquet`. Raises what the source of the verdicts raises."""
    settings = context.settings
    judge = settings.judge
    table = pq.read_table(context.inputs["benchmarks"] / "benchmarks.parquet")
    questions = {row["id"]: Question.from_row(row) for row in table.to_pylist()}
    predictions = pq.read_table(context.inputs["evaluate"] / "predictions.parquet").to_pylist()
    asked = [
        (prediction, kind)
        for prediction in predictions
        for kind in kinds_to_ask(prediction, questions[prediction["id"]], judge)
    ]
    prompts = [judge_prompt(kind, questions[row["id"]], row["response"]) for row, kind in asked]
    replies = _ask([row["id"] for row, _ in asked], prompts, context) if asked else []
    said = [reply.detail if reply.reason else reply.text for reply in replies]
    verdicts = [
        None if reply.reason else read_verdict(kind, reply.text)
        for (_, kind), reply in zip(asked, replies, strict=True)
    ]
    by_reply: dict[tuple[str, str], dict[Verdict, bool]] = {}
    for (row, kind), verdict in zip(asked, verdicts, strict=True):
        if verdict is not None:
            by_reply.setdefault((row["method"], row["id"]), {})[kind] = verdict

    def rows():
        for (row, kind), verdict, words in zip(asked, verdicts, said, strict=True):
            found = by_reply.get((row["method"], row["id"]), {})
            outcome = judged_outcome(row, questions[row["id"]], found, settings.correct_threshold, settings.scoring)
            yield {
                "id": row["id"],
                "method": row["method"],
                "benchmark": row["benchmark"],
                "kind": kind,
                "judge": judge.name,
                "prompt_version": JUDGE_PROMPT_VERSION,
                "rule": row["outcome"] == ("refused" if kind == "refusal" else "correct"),
                "verdict": verdict,
                "said": words,
                "outcome": outcome.kind,
                "unparsed": outcome.unparsed,
            }

    context.check_rows(len(asked), write_rows(context.folder / "verdicts.parquet", rows(), VERDICT))
    return {"verdicts": len(asked), "without_verdict": verdicts.count(None)}


def judged_outcome(
    prediction: Mapping,
    question: Question,
    verdicts: Mapping[Verdict, bool],
    correct_threshold: float,
    scoring: ScoringRules,
) -> Outcome:
    """The outcome of a reply once `verdicts` take the place of the rules: refusal first, then correctness."""
    if verdicts.get("refusal", prediction["outcome"] == "refused"):
        return REFUSED
    if "correctness" in verdicts:
        right = verdicts["correctness"]
        return Outcome("correct" if right else "wrong", float(right), False)
    return judge_answer(final_text(prediction["response"]), question, correct_threshold, scoring)


def _ask(ids: Sequence[str], prompts: Sequence[str], context: StageContext[JudgeSettings]) -> list[GreedyReply]:
    settings, judge = context.settings, context.settings.judge
    pool = Pool(settings.engine or EngineConfig(), settings.seed or 0, context.storage)
    asking = Asking(PromptConfig(), judge.max_tokens, pool, context.replies, context.progress)
    texts = [DEFAULT_FAMILY.chat.clean(prompt) for prompt in prompts]
    no_images: list[list[str]] = [[] for _ in texts]
    if judge.endpoint is not None:
        return ask_endpoint(judge.endpoint, ids, texts, no_images, asking)
    columns = {
        "id": pa.array(ids, pa.string()),
        "checkpoint": pa.array([resolve_checkpoint(judge.checkpoint)] * len(texts), pa.string()),
        "prompt": pa.array([DEFAULT_FAMILY.chat.prompt(text, num_images=0) for text in texts], pa.string()),
        "images": pa.array(no_images, pa.list_(pa.string())),
    }
    requests = pa.table(columns)
    decoding = Decoding(1, 0.0, judge.max_tokens)
    keys = request_keys(requests, pool.engine, decoding)
    replies = answer_requests(
        requests.append_column("key", keys), pool, decoding, folder=context.replies, progress=context.progress
    )
    return [replies[key] for key in keys.to_pylist()]
