"""What a benchmark breaks its results down by, beside answerability: Question -> {class: value}, its group and its
pair.

Everything comes from `Question.meta`, as its reader leaves it there; a corpus without an entry has no classes.
"""

import json
from collections.abc import Callable

from inbol_ray.rows import Question

# Not beside their readers: scoring and evaluation need the names, and readers stand above them.
MMUPD = tuple(
    f"{kind}_{setting}" for kind in ("mmaad", "mmiasd", "mmivqd") for setting in ("base", "option", "instruction")
)
HUMBLEBENCH = ("humblebench", "humblebench_e", "humblebench_gn")
TUBENCH = ("tubench_ucr", "tubench_uvqa", "tubench_ugeoqa", "tubench_utabmwp")


def _fields(*names: str) -> Callable[[dict], dict]:
    return lambda meta: {name: meta.get(name) for name in names}


def _oven(meta: dict) -> dict:
    split = meta.get("data_split") or ""
    return {
        "set": "query" if "query" in split else "entity" if "entity" in split else None,
        "entities": "unseen" if "_unseen" in split else "seen" if "_seen" in split else None,
    }


def _gqa(meta: dict) -> dict:
    structural = meta.get("structural")
    form = None if structural is None else "open" if structural == "query" else "binary"
    return {
        "form": form,
        "structural": structural,
        "semantic": meta.get("semantic"),
        "balanced": meta.get("is_balanced"),
    }


def _vqav2_idk(meta: dict) -> dict:
    """The full set is the published one; its labels are noisy, and these two subsets are surer."""
    num_idk, num_answers = meta["num_idk_answers"], meta["num_answers"]
    return {"three_say_so": num_idk >= 3, "half_say_so": num_idk * 2 >= num_answers}


_CLASSES: dict[str, Callable[[dict], dict]] = {
    "vqav2": _fields("answer_type"),
    "scienceqa": _fields("subject", "grade"),
    "scienceqa_full": _fields("subject", "grade", "has_image"),
    "oven": _oven,
    "aokvqa": _fields("difficult_direct_answer"),
    "gqa": _gqa,
    "mmmu": _fields("subject", "question_type", "multi_image"),
    "mmbench": _fields("category", "l2_category", "source"),
    "beyondvisqa": _fields("category"),
    "beyondvisqa_open": _fields("category"),
    "vizwiz": _fields("answer_type"),
    "vqav2_idk": _vqav2_idk,
    "vqav2_idk_filtered": _vqav2_idk,
    **dict.fromkeys(MMUPD, _fields("category", "l2_category")),
    **dict.fromkeys(HUMBLEBENCH, _fields("type")),
    "mohobench": _fields("category"),
    **dict.fromkeys(TUBENCH, _fields("strategy")),
}

_ROTATED = frozenset(["mmbench", *MMUPD])
_PAIRED = frozenset(MMUPD)


def question_classes(question: Question) -> dict[str, str]:
    """Class -> value of a question, without what its corpus leaves open."""
    read = _CLASSES.get(question.dataset)
    found = read(json.loads(question.meta)) if read else {}
    return {name: _text(value) for name, value in found.items() if value not in (None, "")}


def question_group(question: Question) -> str | None:
    """The id of the unrotated question for each of its rotations; None where a corpus has no rotations."""
    return _shared(question, "group") if question.dataset in _ROTATED else None


def question_pair(question: Question) -> str | None:
    """What the questions share of which all must be right to count; None where a corpus has no such pairs."""
    return _shared(question, "pair") if question.dataset in _PAIRED else None


def _shared(question: Question, name: str) -> str:
    return f"{question.dataset}:{question.split}:{json.loads(question.meta)[name]}"


def _text(value) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
