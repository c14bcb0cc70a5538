"""Training data in TRL's conversational format, for those who train with other tools.

PREFERENCE_SET with weights -> `preferences/`: `prompt`, `chosen`, `rejected`, `images`, `weight`; one row a pair
CONVERSATION -> `idk/`, `sft/`: `prompt`, `completion`, `images`; one row an assistant turn

Parquet files with the images in them, which `datasets.load_dataset("parquet", data_dir=...)` reads. CA-DPO's loss is
the sum of DPO's over a sample's pairs, each times its `weight`; a plain DPO trainer ignores that column.
"""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
from datasets import Features, List, Value
from datasets import Image as ImageFeature

from inbol_ray.config.machines import StorageConfig
from inbol_ray.datagen.trl_rows import instruction_rows, message, preference_rows
from inbol_ray.images import ImageError, read_image_bytes
from inbol_ray.method.preference_pairs import add_pair_weights
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import REJECTED, Rejected
from inbol_ray.store.storage import create_folder, delete_folder, is_remote, open_filesystem, write_whole

ROWS_PER_FILE = 256
_MESSAGES = List({"role": Value("string"), "content": Value("string")})
_BOTH = {"id": Value("string"), "prompt": _MESSAGES, "images": List(ImageFeature())}
PREFERENCE_FEATURES = Features(_BOTH | {"chosen": _MESSAGES, "rejected": _MESSAGES, "weight": Value("float32")})
INSTRUCTION_FEATURES = Features(_BOTH | {"completion": _MESSAGES})
_USAGE = """Training data in TRL's conversational format, made by inbol_ray from one model's own answers.

    from datasets import load_dataset
    from transformers import AutoProcessor, LlavaImageProcessor
    from trl import DPOConfig, DPOTrainer

    pairs = load_dataset("parquet", data_dir="preferences", split="train")
    processor = AutoProcessor.from_pretrained(CHECKPOINT)
    processor.chat_template = open("chat_template.jinja").read()
    processor.image_processor = LlavaImageProcessor.from_pretrained(CHECKPOINT, do_pad=True)
    DPOTrainer(CHECKPOINT, args=DPOConfig(max_length=None, ...), processing_class=processor, train_dataset=pairs).train()

`chat_template.jinja` adds the begin token and the end token after an answer; the one of llava-hf checkpoints has
neither, and no system text. Their image processor crops a picture to a square; the answers come from padded ones.
`weight` is the pair's factor in CA-DPO; plain DPO ignores it. `idk/` and `sft/` are for `SFTTrainer`.
"""


def export_trl(
    data_folder: Path, uri: str, storage: StorageConfig, system: str | None = None, mixed_pairs: str = "confidence"
) -> dict[str, int]:
    """Convert the `data` stage's files by Ray Data; returns rows a part, and rejected rows.

    `system` (`prompts.system`) becomes the first message of every prompt; `mixed_pairs` (`training.NAME.mixed_pairs`)
    weighs the pairs of Mixed samples, and leaves out those without weight.
    What is under `uri`, a path that every node reaches or an `s3://` URI, goes first; `README.md` is written last, when
    all is there. A row whose image cannot be read goes to `rejected.parquet`.
    """
    filesystem, folder = open_filesystem(uri, storage)
    delete_folder(uri, storage)
    create_folder(filesystem, folder)
    target = uri if is_remote(uri) else folder  # absolute: workers run in other folders
    counts: dict[str, int] = {}
    rejected: list[dict] = []
    for part in ("preferences", "idk", "sft"):
        table = pq.read_table(data_folder / f"{part}.parquet")
        if part == "preferences":
            table = add_pair_weights(table, mixed_pairs)
        slices = [table.slice(start, ROWS_PER_FILE) for start in range(0, max(1, table.num_rows), ROWS_PER_FILE)]
        written = (
            ray.data.from_arrow(slices)
            .map_batches(
                write_file,
                batch_size=None,
                batch_format="pyarrow",
                fn_kwargs={"uri": f"{target}/{part}", "storage": storage, "system": system},
            )
            .take_all()
        )
        counts[part] = sum(row["rows"] for row in written)
        rejected += [row for file in written for row in file["rejected"]]
    refused = pa.Table.from_pylist(rejected, schema=REJECTED)
    write_whole(filesystem, f"{folder}/rejected.parquet", _to_parquet(refused))
    write_whole(filesystem, f"{folder}/chat_template.jinja", DEFAULT_FAMILY.chat.training_template.encode())
    write_whole(filesystem, f"{folder}/README.md", _USAGE.encode())
    return counts | {"rejected": len(rejected)}


def write_file(table: pa.Table, uri: str, storage: StorageConfig, system: str | None = None) -> pa.Table:
    """One file of converted rows, named after its first id, so that a retried task writes the same file again.

    Returns one row: the number of rows and the rejected ones.
    """
    is_preference = "refusal" in table.column_names
    features, convert = (
        (PREFERENCE_FEATURES, preference_rows) if is_preference else (INSTRUCTION_FEATURES, instruction_rows)
    )
    before = [] if system is None else [message("system", system)]
    converted, rejected = [], []
    for row in table.to_pylist():
        try:
            images = [{"bytes": read_image_bytes(reference), "path": None} for reference in row["images"]]
        except ImageError as error:
            rejected.append(Rejected(row["id"], "trl_export", "unreadable_image", str(error)).to_row())
            continue
        for values in convert(row):
            converted.append({"id": row["id"], "images": images, **values, "prompt": [*before, *values["prompt"]]})
    first = table["id"][0].as_py() if table.num_rows else ""
    name = hashlib.sha256(first.encode()).hexdigest()[:16]
    filesystem, folder = open_filesystem(uri, storage)
    create_folder(filesystem, folder)
    data = _to_parquet(pa.Table.from_pylist(converted, schema=features.arrow_schema))
    write_whole(filesystem, f"{folder}/{name}.parquet", data)
    kind = pa.list_(pa.struct(list(REJECTED)))
    return pa.table({"rows": [len(converted)], "rejected": pa.array([rejected], kind)})


def _to_parquet(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue()
