"""ScienceQA: official problems and splits files, or the hub's Parquet copies -> Question (mc).

    {root}/problems.json      {pid: {question, choices, answer, hint, image, split, ...}}
    {root}/pid_splits.json    {split: [pid]}
    {root}/images/{train,val,test}/{pid}/{image}        all three also below {root}/data/scienceqa
    {root}/{data,ScienceQA-IMG,ScienceQA-FULL}/{split}-*.parquet
                              (derek-thomas/ScienceQA, lmms-lab/ScienceQA): the same fields, `image` embedded or null

Dataset `scienceqa` is the subset with an image, as LLaVA reports it: the other problems are rejected as `no_image`, and
so counted. `scienceqa_full` has all problems, those without an image with `images=[]`. Parquet rows without `pid` are
known by their number in the split.
Source: ScienceQA release (lupantech/ScienceQA, README.md).
"""

import json
from collections.abc import Iterator

from inbol_ray.corpora.annotation_rows import AnnotationRow, convert_rows, question_id
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.json_stream import stream_object
from inbol_ray.corpora.row_sources import find_rows, hub_split, json_object_rows, parquet_patterns
from inbol_ray.errors import DataError
from inbol_ray.rows import Question, Rejected

_FOLDERS = ("", "data/scienceqa/")
_META = ("grade", "subject", "topic", "category", "skill")
_PROBLEMS = "ScienceQA's problems, an object by problem id"
_SPLITS = "ScienceQA's splits, an object with a list of problem ids a split"


def read_scienceqa(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """Problems of one split that have an image, in the order of the problems file.

    Raises DataError where a file is missing or unreadable, or does not know the split.
    """
    return _read(files, split, "scienceqa", hub_config="ScienceQA-IMG")


def read_scienceqa_full(files: CorpusFiles, split: str) -> Iterator[Question | Rejected]:
    """All problems of one split; otherwise as `read_scienceqa`."""
    return _read(files, split, "scienceqa_full", hub_config="ScienceQA-FULL")


def _read(files: CorpusFiles, split: str, dataset: str, hub_config: str) -> Iterator[Question | Rejected]:
    problems = [f"{folder}problems.json" for folder in _FOLDERS]
    official = next((name for name in problems if files.exists(name)), None)
    if official is not None:
        pid_splits = official.replace("problems.json", "pid_splits.json")
        files.find(pid_splits, description=_SPLITS)
        rows = _official_rows(files, official, pid_splits, split)
    else:
        patterns = (*problems, *parquet_patterns(hub_split(split), hub_config))
        rows = _numbered(find_rows(files, *patterns, id_field="pid", description=_PROBLEMS))

    def build(row: AnnotationRow) -> Question:
        pid = row.native_id()
        text = row.question()
        choices = row.choices("choices")
        gold_index = row.gold_index("answer", len(choices))
        hint = row.hint()
        images = _find_images(row, split, pid, required=dataset == "scienceqa")
        return Question(
            id=question_id(dataset, split, pid),
            dataset=dataset,
            split=split,
            images=images,
            question=text,
            answer_kind="mc",
            gold_answers=[choices[gold_index]],
            choices=choices,
            gold_index=gold_index,
            hint=hint,
            meta=json.dumps({"has_image": bool(images)} | {key: row.optional(key) for key in _META}),
        )

    return convert_rows(dataset, split, rows, build)


def _official_rows(files: CorpusFiles, problems: str, pid_splits: str, split: str) -> Iterator[AnnotationRow]:
    """Problems of the split, then a row without fields for each id of the split that has no problem."""
    with DiskIndex() as wanted:
        for pid in _pids(files, pid_splits, split):
            wanted.add(json.dumps(pid) if isinstance(pid, dict | list) else str(pid), 0)
        for row in json_object_rows(files, problems, "pid", _PROBLEMS):
            pid = row.place.removeprefix("pid ")
            if wanted.get(pid) is not None:
                wanted.put(pid, 1)
                yield row if isinstance(row.values, dict) else _without_problem(row.files, problems, pid)
        for pid in wanted.keys_with(0):
            yield _without_problem(files, problems, pid)


def _pids(files: CorpusFiles, pid_splits: str, split: str) -> list:
    names = []
    for name, pids in stream_object(files, pid_splits, _SPLITS):
        if name == split and isinstance(pids, list):
            return pids
        names.append(name)
    raise DataError(
        f"{files.shown(pid_splits)}: found no list {split!r}, expected one of {sorted(names)}. Correct `split`."
    )


def _without_problem(files: CorpusFiles, problems: str, pid: str) -> AnnotationRow:
    return AnnotationRow(files, problems, f"problem {pid}"[:100], "pid", {"pid": pid})


def _numbered(rows: Iterator[AnnotationRow]) -> Iterator[AnnotationRow]:
    for number, row in enumerate(rows):
        row.values.setdefault("pid", number)
        yield row


def _find_images(row: AnnotationRow, split: str, pid: str, required: bool) -> list[str]:
    if not row.has("image"):
        if not required:
            return []
        raise row.bad(
            "no_image",
            "image",
            "null",
            "a file name",
            "Nothing to mend: a problem without an image asks nothing about an image.",
        )
    if row.holds_image("image"):
        return [row.embedded_image("image")]
    image = row.text("image")
    subset = row.optional("split") or split
    return [
        row.image(
            "image", [f"{folder}{level}{subset}/{pid}/{image}" for folder in _FOLDERS for level in ("images/", "")]
        )
    ]
