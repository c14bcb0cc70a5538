"""Examples of the report: which questions are shown, and their images as data URIs.

PREDICTION rows -> Example cards. The choice looks at ids, domains and knowledge classes, never at a reply.
"""

import base64
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.metrics import DOMAINS, method_order
from inbol_ray.images import ImageError, open_image
from inbol_ray.method.classes import classify
from inbol_ray.pixels import to_rgb

GROUPS = ("known", "mixed", "unknown", "answerable", "unanswerable")
"""Sections of the gallery; `answerable` is only for runs that sampled no confidences."""
_EMBEDDED_AS_IS = {"PNG": "image/png", "JPEG": "image/jpeg"}
_MAX_EMBEDDED_BYTES = 300_000
_THUMBNAIL_PX = 640
_SMALL_PX = 100


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a data URI; `pixelated` where it is so small (under 100 px) that smoothing would blur it."""

    uri: str
    pixelated: bool


@dataclass(slots=True)
class Example:
    """One test question with every method's reply: (method, outcome, reply, unparsed), in the table's order."""

    id: str
    domain: str
    benchmark: str
    images: list[str]
    question: str
    gold_answers: list[str]
    base_confidence: float | None
    replies: list[tuple[str, str, str, bool]] = field(default_factory=list)


def choose_examples(predictions: pa.Table, classes: ClassConfig, num_per_group: int = 6) -> dict[str, list[Example]]:
    """Group -> examples, of the lowest seed: in each group the first ones by SHA-256 of the id, domains alternating.

    The order is random with respect to every reply and the same on every run, so nothing can be picked by hand.
    """
    seed = pc.min(predictions["seed"]).as_py()
    table = predictions.filter(pc.equal(predictions["seed"], pa.scalar(seed, pa.int32())))
    keys = table.select(["id", "domain", "benchmark", "answerable", "base_confidence"]).to_pylist()
    queues: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for row in keys:
        group = _group(row["answerable"], row["base_confidence"], classes)
        digest = hashlib.sha256(row["id"].encode()).hexdigest()
        queues.setdefault((group, row["domain"]), {})[row["benchmark"], row["id"]] = digest
    chosen: dict[str, list[tuple[str, str]]] = {}
    for group in GROUPS:
        columns = [sorted(queue, key=queue.get) for d in DOMAINS if (queue := queues.get((group, d)))]
        picks = [column[turn] for turn in range(num_per_group) for column in columns if turn < len(column)]
        if picks:
            chosen[group] = picks[:num_per_group]
    return _collect(table, chosen)


def embed_image(reference: str, read_image: Callable[[str], bytes]) -> Picture | None:
    """Data URI of a PNG or JPEG as is, up to 300 kB, else of a 640 px JPEG; None where it cannot be read or shown."""
    try:
        content = read_image(reference)
        with open_image(content, reference) as image:
            mime = _EMBEDDED_AS_IS.get(image.format)
            pixelated = max(image.size) < _SMALL_PX
            if mime is None or len(content) > _MAX_EMBEDDED_BYTES:
                content, mime = _thumbnail(image), "image/jpeg"
    except (ImageError, OSError, ValueError, SyntaxError):
        return None
    return Picture(f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}", pixelated)


def _group(answerable: bool | None, confidence: float | None, classes: ClassConfig) -> str:
    if answerable is False:
        return "unanswerable"
    return "answerable" if confidence is None else classify(confidence, answerable, classes)


def _collect(table: pa.Table, chosen: dict[str, Sequence[tuple[str, str]]]) -> dict[str, list[Example]]:
    wanted = pa.array([id_ for picks in chosen.values() for _, id_ in picks], pa.string())
    rows = table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist()
    by_question: dict[tuple[str, str], dict[str, dict]] = {}
    for row in rows:
        by_question.setdefault((row["benchmark"], row["id"]), {})[row["method"]] = row
    return {group: [_example(by_question[key]) for key in picks] for group, picks in chosen.items()}


def _example(rows: dict[str, dict]) -> Example:
    """`rows`: method -> PREDICTION row of one question."""
    methods = method_order(rows)
    row = rows[methods[0]]
    known = next((r["base_confidence"] for r in rows.values() if r["base_confidence"] is not None), None)
    return Example(
        id=row["id"],
        domain=row["domain"],
        benchmark=row["benchmark"],
        images=row["images"] or [],
        question=row["question"] or "",
        gold_answers=list(dict.fromkeys(row["gold_answers"] or [])),
        base_confidence=known,
        replies=[
            (method, rows[method]["outcome"], rows[method]["response"] or "", bool(rows[method]["unparsed"]))
            for method in methods
        ],
    )


def _thumbnail(image: Image.Image) -> bytes:
    picture = to_rgb(image)
    picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
