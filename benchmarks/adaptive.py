"""Adaptive sampling against all N samples: what it saves, which classes change, what it does to CA-DPO's weights.

recorded datasets, simulated models -> one line each -> build/bench/adaptive.json

A recorded dataset (the confidence stage's, drawn with fixed N) is replayed: the test is shown a question's samples one
after another, and what it stops at is compared with all N. Simulated models stand beside them, since their true
confidence is known. The settings were chosen on the demo's own seed, so the seeds of `make demo-seeds` are the proof.

    python benchmarks/adaptive.py [ANSWERS.parquet ...]    (default: what `make demo` and `make demo-seeds` left)
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from inbol_ray.config.sampling import AdaptiveConfig, ClassConfig
from inbol_ray.method.classes import classify
from inbol_ray.method.simulated_questions import simulate_questions
from inbol_ray.method.stopping import replay

RECORDED = ("demo/artifacts", "seeds/seed-*/artifacts")
CONCENTRATIONS = {0.05: "sure", 0.3: "mixed", 2.0: "guessing"}
NUM_SIMULATED, NUM_SAMPLES = 6_000, 10
CLASSES, ADAPTIVE = ClassConfig(), AdaptiveConfig()


@dataclass(frozen=True)
class Stopped:
    """A question that was replayed: samples drawn of `num_samples`, and its estimates from these and from all.

    `truth` is the simulated model's confidence; `undoubted` marks questions that are Unknown by their corpus.
    """

    drawn: int
    num_samples: int
    early: float
    full: float
    truth: float | None = None
    undoubted: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path, nargs="*", help="answers.parquet of confidence stages")
    parser.add_argument("--build", type=Path, default=Path("build"))
    args = parser.parse_args()
    paths = args.answers or [
        path for place in RECORDED for path in sorted(args.build.glob(f"{place}/confidence-*/answers.parquet"))
    ]
    results = {str(path): summarise(replay_recorded(path)) for path in paths}
    for concentration, kind in CONCENTRATIONS.items():
        results[f"simulated, a {kind} model"] = summarise(replay_simulated(concentration))
    width = max(map(len, results))
    for name, result in results.items():
        print(f"{name:<{width}}  {show(result)}")
    output = args.build / "bench" / "adaptive.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"error_rate": ADAPTIVE.error_rate, "results": results}, indent=1))
    print(f"written to {output}")


def replay_recorded(path: Path) -> Iterable[Stopped]:
    columns = ["answerable", "responses", "outcomes", "token_logprobs", "confidence"]
    for batch in pq.ParquetFile(path).iter_batches(columns=columns):
        for row in batch.to_pylist():
            correct = [outcome == "correct" for outcome in row["outcomes"]]
            undoubted = row["answerable"] is False
            drawn = (
                ADAPTIVE.num_undoubted
                if undoubted
                else replay(row["responses"], correct, row["token_logprobs"], CLASSES, ADAPTIVE.error_rate)
            )
            yield Stopped(drawn, len(correct), sum(correct[:drawn]) / drawn, row["confidence"], undoubted=undoubted)


def replay_simulated(concentration: float) -> Iterable[Stopped]:
    for question in simulate_questions(NUM_SIMULATED, NUM_SAMPLES, seed=0, concentration=concentration):
        drawn = replay(question.texts, question.correct, question.token_logprobs, CLASSES, ADAPTIVE.error_rate)
        early = sum(question.correct[:drawn]) / drawn
        yield Stopped(drawn, NUM_SAMPLES, early, sum(question.correct) / NUM_SAMPLES, question.confidence)


def summarise(questions: Iterable[Stopped]) -> dict[str, float]:
    """Rates in [0, 1]. `doubtful` leaves out what the corpus marks as unanswerable, which no test has to decide."""
    questions = list(questions)
    doubtful = [question for question in questions if not question.undoubted]
    decided = [question for question in doubtful if question.drawn < question.num_samples]
    # CA-DPO weighs a Mixed question by its confidence, and no other.
    mixed = [question for question in doubtful if _class(question.early) == _class(question.full) == "mixed"]
    gaps = np.array([question.early - question.full for question in mixed])
    result = {
        "questions": len(questions),
        "saved": _saved(questions),
        "saved_doubtful": _saved(doubtful),
        "decided_doubtful": len(decided) / len(doubtful),
        "agreement_decided": _agreement(decided),
        "agreement_doubtful": _agreement(doubtful),
        "mixed_weight_mean_gap": float(gaps.mean()),
        "mixed_weight_mean_abs_gap": float(np.abs(gaps).mean()),
        "confidence_mean_gap": float(np.mean([question.early - question.full for question in doubtful])),
    }
    if doubtful[0].truth is not None:
        result["bias"] = float(np.mean([question.early - question.truth for question in doubtful]))
    return result


def _saved(questions: list[Stopped]) -> float:
    return 1 - sum(question.drawn for question in questions) / sum(question.num_samples for question in questions)


def _agreement(questions: list[Stopped]) -> float:
    return float(np.mean([_class(question.early) == _class(question.full) for question in questions]))


def _class(confidence: float) -> str:
    return classify(confidence, None, CLASSES)


def show(result: dict[str, float]) -> str:
    return (
        f"{result['questions']:6,} questions: {result['saved']:.1%} saved ({result['saved_doubtful']:.1%} of those not "
        f"marked unanswerable), {result['agreement_decided']:.2%} of the decided classes are those of all samples, "
        f"Mixed weights {result['mixed_weight_mean_gap']:+.4f} on average"
    )


if __name__ == "__main__":
    main()
