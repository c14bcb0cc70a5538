"""Reading a corpus that grows tenfold twice: memory of every process, and rows a second -> build/bench/corpora.json.

Corpora of VQAv2's form (two JSON files to be joined, ten answers a question, ids in random order) are written to a
temporary folder and read through Ray Data, each size in a process of its own. Beside it stands the plain way: both files
through `json.load` and a dictionary, up to a size that does not endanger the machine.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from own_process import in_own_process
from peak_memory import PeakMemory, anonymous_mib

SIZES = (10_000, 100_000, 1_000_000)
LARGEST_PLAIN = 100_000
NUM_IMAGES = 2_000
QUESTIONS_FILE = "v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS_FILE = "v2_mscoco_train2014_annotations.json"
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--output", type=Path, default=Path("build/bench/corpora.json"))
    options = parser.parse_args()
    results = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="bench-corpora-") as folder:
            root = Path(folder)
            file_bytes = write_corpus(root, size)
            sides = [read_streaming] + ([read_plainly] if size <= LARGEST_PLAIN else [])
            for side in sides:
                result = {"side": side.__name__, "rows": size, "file_mib": round(file_bytes / MIB)}
                results.append(result | in_own_process(side, root))
                print(json.dumps(results[-1]), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1))


def write_corpus(root: Path, size: int) -> int:
    """Both files and the images of a corpus; returns the size of the JSON."""
    rng = random.Random(size)
    (root / "train2014").mkdir()
    for image_id in range(NUM_IMAGES):
        (root / "train2014" / f"COCO_train2014_{image_id:012d}.jpg").touch()
    ids = list(range(size))
    for name, key, make in (
        (QUESTIONS_FILE, "questions", _question),
        (ANNOTATIONS_FILE, "annotations", _annotation),
    ):
        rng.shuffle(ids)
        with open(root / name, "w") as file:
            file.write(f'{{"info": {{"year": 2017}}, "{key}": [')
            for number, native_id in enumerate(ids):
                file.write((", " if number else "") + json.dumps(make(native_id)))
            file.write("]}")
    return sum((root / name).stat().st_size for name in (QUESTIONS_FILE, ANNOTATIONS_FILE))


def _question(native_id: int) -> dict:
    return {
        "image_id": native_id % NUM_IMAGES,
        "question": f"What is the colour of thing number {native_id}?",
        "question_id": native_id,
    }


def _annotation(native_id: int) -> dict:
    answer = ("red", "yes", "two", "a dog")[native_id % 4]
    return {
        "question_type": "what is the",
        "multiple_choice_answer": answer,
        "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": k} for k in range(1, 11)],
        "image_id": native_id % NUM_IMAGES,
        "answer_type": "other",
        "question_id": native_id,
    }


def read_streaming(root: Path) -> dict:
    """The project's reader: rows through Ray Data, counted in the driver as they come."""
    import ray

    from inbol_ray.config.corpora import CorpusConfig
    from inbol_ray.corpora.read import read_corpora, stream_tables
    from inbol_ray.corpora.source import CorpusSource

    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=256 * MIB,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    corpus = CorpusConfig(dataset="vqav2", split="train2014", root=str(root))
    list(ray.data.range(1).iter_batches())  # starts what Ray Data starts once
    before = anonymous_mib("self")
    with PeakMemory({"reader": "Read"}) as memory:
        started = time.perf_counter()
        num_questions = sum(
            table.num_rows - table["reason"].drop_null().length()
            for table in stream_tables(read_corpora([CorpusSource(corpus, str(root))]))
        )
        wall_s = time.perf_counter() - started
    ray.shutdown()
    return {
        "questions": num_questions,
        "wall_s": round(wall_s, 2),
        "rows_per_s": round(num_questions / wall_s),
        "driver_mib_before": before,
        "driver_peak_mib": memory.mib["driver"],
        "reader_peak_mib": memory.mib["reader"],
    }


def read_plainly(root: Path) -> dict:
    """`json.load` of both files and a dictionary of all annotations."""
    before = anonymous_mib("self")
    with PeakMemory({}) as memory:
        started = time.perf_counter()
        annotations = {
            row["question_id"]: row for row in json.loads((root / ANNOTATIONS_FILE).read_text())["annotations"]
        }
        rows = [
            row | {"answers": [answer["answer"] for answer in annotations[row["question_id"]]["answers"]]}
            for row in json.loads((root / QUESTIONS_FILE).read_text())["questions"]
            if os.path.isfile(root / "train2014" / f"COCO_train2014_{row['image_id']:012d}.jpg")
        ]
        wall_s = time.perf_counter() - started
    return {
        "questions": len(rows),
        "wall_s": round(wall_s, 2),
        "rows_per_s": round(len(rows) / wall_s),
        "driver_mib_before": before,
        "driver_peak_mib": memory.mib["driver"],
    }


if __name__ == "__main__":
    sys.exit(main())
