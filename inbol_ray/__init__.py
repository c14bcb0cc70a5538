"""inbol_ray: teach a multimodal LLM to refuse what it cannot answer (InBoL, arXiv 2412.11196), on Ray.

The names below are the library. They are imported when they are first used, so that `import inbol_ray` costs nothing and
each of them needs only what it works with: NumPy, pyarrow, Pillow and pydantic, and PyTorch for losses and packing.

    from inbol_ray import Question, classify, judge_reply

    question = Question(id="1", question="What colour is the dog?", gold_answers=["brown"])
    outcomes = [judge_reply(reply, question).kind for reply in ("Brown.", "I don't know.", "black")]
    classify(outcomes.count("correct") / len(outcomes))  # "mixed"
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from inbol_ray.config.model import PromptConfig
    from inbol_ray.config.sampling import ClassConfig, ScoringRules
    from inbol_ray.errors import ConfigError, DataError, InbolError
    from inbol_ray.evaluation.compare import Comparison, compare_predictions
    from inbol_ray.method.calibration_error import expected_calibration_error
    from inbol_ray.method.classes import classify
    from inbol_ray.method.idk_instructions import build_idk_instruction, build_sft_example
    from inbol_ray.method.losses import ca_dpo_loss, preferred_nll, reward_margins
    from inbol_ray.method.packing import pack_responses, packed_attention_mask, packed_logps
    from inbol_ray.method.penalty import penalised_score
    from inbol_ray.method.preference_pairs import build_preference_set, pair_weights
    from inbol_ray.method.prompts import pick_refusal, render_question
    from inbol_ray.method.risk_coverage import Curve, risk_coverage
    from inbol_ray.method.scores import Metrics, trust_scores
    from inbol_ray.method.stopping import confidence_bounds, error_bound, next_round
    from inbol_ray.method.thresholds import fit_threshold, threshold_grid
    from inbol_ray.report.score_file import ScoredReplies, score_replies
    from inbol_ray.rows import OUTCOMES, PAIRS, RESPONSES, Question
    from inbol_ray.scoring.outcome import Outcome, judge_reply
    from inbol_ray.scoring.refusal import RefusalVerdict, detect_refusal, detect_refusals

__all__ = [
    "OUTCOMES",
    "PAIRS",
    "RESPONSES",
    "ClassConfig",
    "Comparison",
    "ConfigError",
    "Curve",
    "DataError",
    "InbolError",
    "Metrics",
    "Outcome",
    "PromptConfig",
    "Question",
    "RefusalVerdict",
    "ScoredReplies",
    "ScoringRules",
    "build_idk_instruction",
    "build_preference_set",
    "build_sft_example",
    "ca_dpo_loss",
    "classify",
    "compare_predictions",
    "confidence_bounds",
    "detect_refusal",
    "detect_refusals",
    "error_bound",
    "expected_calibration_error",
    "fit_threshold",
    "judge_reply",
    "next_round",
    "pack_responses",
    "packed_attention_mask",
    "packed_logps",
    "pair_weights",
    "penalised_score",
    "pick_refusal",
    "preferred_nll",
    "render_question",
    "reward_margins",
    "risk_coverage",
    "score_replies",
    "threshold_grid",
    "trust_scores",
]

_MODULES = {
    "config.model": ("PromptConfig",),
    "config.sampling": ("ClassConfig", "ScoringRules"),
    "errors": ("ConfigError", "DataError", "InbolError"),
    "evaluation.compare": ("Comparison", "compare_predictions"),
    "method.calibration_error": ("expected_calibration_error",),
    "method.classes": ("classify",),
    "method.idk_instructions": ("build_idk_instruction", "build_sft_example"),
    "method.losses": ("ca_dpo_loss", "preferred_nll", "reward_margins"),
    "method.packing": ("pack_responses", "packed_attention_mask", "packed_logps"),
    "method.penalty": ("penalised_score",),
    "method.preference_pairs": ("build_preference_set", "pair_weights"),
    "method.prompts": ("pick_refusal", "render_question"),
    "method.risk_coverage": ("Curve", "risk_coverage"),
    "method.scores": ("Metrics", "trust_scores"),
    "method.stopping": ("confidence_bounds", "error_bound", "next_round"),
    "method.thresholds": ("fit_threshold", "threshold_grid"),
    "report.score_file": ("ScoredReplies", "score_replies"),
    "rows": ("OUTCOMES", "PAIRS", "RESPONSES", "Question"),
    "scoring.outcome": ("Outcome", "judge_reply"),
    "scoring.refusal": ("RefusalVerdict", "detect_refusal", "detect_refusals"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """PEP 562. Raises AttributeError for an unknown name, and ImportError that names the package a name needs."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'inbol_ray' has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        value = getattr(import_module(f"inbol_ray.{_MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] == "inbol_ray":
            raise
        raise ImportError(
            f"inbol_ray.{name} needs the package {missing}, which is not installed: pip install {missing}"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
