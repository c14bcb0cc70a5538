"""What a user runs first on their own data: every configured corpus is read as the pipeline reads it, and described.

CORPUS_ROW, a block at a time -> CorpusReport a corpus, Leaks -> printed text and `corpus_check.json`
"""

import json
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from inbol_ray.config.corpora import BenchmarkConfig, CorpusConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.leakage import EvaluationKeys, Leaks, with_keys
from inbol_ray.corpora.read import NOT_DRAWN, read_corpora, stream_tables
from inbol_ray.corpora.source import CorpusSource, corpus_source
from inbol_ray.errors import InbolError
from inbol_ray.images import ImageError, load_image, pixel_rule
from inbol_ray.models import DEFAULT_FAMILY, question_prompt
from inbol_ray.rows import Question
from inbol_ray.store.local_copies import written_to
from inbol_ray.store.storage import delete_folder, is_remote

NUM_PROMPTS = 2
WIDTH = 118
_ANSWERABLE = {True: "answerable", False: "unanswerable", None: "not stated"}


@dataclass
class CorpusReport:
    """What one corpus holds. `problem` says why it could not be read to its end."""

    role: str
    dataset: str
    split: str
    root: str
    num_questions: int = 0
    num_not_drawn: int = 0
    num_images: int = 0
    answer_kinds: Counter[str] = field(default_factory=Counter)
    answerable: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, str] = field(default_factory=dict)
    prompts: list[dict] = field(default_factory=list)
    problem: str | None = None

    @property
    def name(self) -> str:
        return f"{self.dataset}:{self.split}"

    def add(self, table: pa.Table, images: DiskIndex, config: PipelineConfig) -> None:
        """Count a block of rows; the first questions are rendered."""
        for row in table.to_pylist():
            if row["reason"] == NOT_DRAWN:
                self.num_not_drawn = row["num_not_drawn"]
                continue
            if row["reason"] is not None:
                self.rejected[row["reason"]] += 1
                self.first_rejected.setdefault(row["reason"], row["detail"])
                continue
            self.num_questions += 1
            self.answer_kinds[row["answer_kind"]] += 1
            self.answerable[_ANSWERABLE[row["answerable"]]] += 1
            self.num_images += sum(images.add(reference, 1) for reference in row["images"])
            if len(self.prompts) < NUM_PROMPTS:
                self.prompts.append(_render(Question.from_row(row), config))

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield f"{self.role}  {self.name}  in {self.root}"
        if self.problem:
            yield from _wrapped("cannot be read", self.problem)
        yield f"  questions       {self.num_questions:,}" + _listed(self.answer_kinds) + _listed(self.answerable)
        if self.num_not_drawn:
            yield f"  not drawn       {self.num_not_drawn:,}  (`sample` takes a subset)"
        yield f"  images          {self.num_images:,}"
        yield f"  missing images  {self.rejected['missing_image']:,}"
        yield f"  duplicate ids   {self.rejected['duplicate_id']:,}"
        yield f"  rejected rows   {self.rejected.total():,}" + _listed(self.rejected)
        for detail in self.first_rejected.values():
            yield from _wrapped("for example", detail)
        for prompt in self.prompts:
            yield f"  prompt          {prompt['id']}  ({prompt['image']})"
            yield textwrap.indent(prompt["prompt"], "      | ")
            yield f"      expected: {prompt['answer']}"


def check_corpora(config: PipelineConfig, toyworld: str | None) -> None:
    """Print a report of every corpus and of leakage. Raises InbolError, after all of it, if the pipeline would fail.

    Ray must be up. `toyworld` is the URI of the toy world's artifact, where the configuration has one.
    """
    output = config.output_dir if is_remote(config.output_dir) else str(Path(config.output_dir).resolve())
    image_folder = f"{output}/check-images"
    reports = []
    try:
        with EvaluationKeys() as keys:
            for corpus in [*config.evaluation.benchmarks, *config.corpora]:
                report = _check(
                    corpus, corpus_source(corpus, toyworld, image_folder, config.storage, config.seed), keys, config
                )
                print("\n".join(report.lines()), end="\n\n", flush=True)
                reports.append(report)
            leaks = keys.leaks
    finally:
        delete_folder(image_folder, config.storage)
    print(_describe_leaks(leaks, config))
    problems = _find_problems(reports, leaks, config)
    content = {"corpora": [vars(report) for report in reports], "leakage": vars(leaks), "problems": problems}
    with written_to(output, config.storage) as folder:
        (folder / "corpus_check.json").write_text(json.dumps(content, indent=1))
    if problems:
        raise InbolError("; ".join(problems) + ". The report above says why.")


def _check(corpus: CorpusConfig, source: CorpusSource, keys: EvaluationKeys, config: PipelineConfig) -> CorpusReport:
    is_benchmark = isinstance(corpus, BenchmarkConfig)
    role = "benchmark" if is_benchmark else "training "
    report = CorpusReport(role, corpus.dataset, corpus.split, source.root)
    with DiskIndex() as images:
        try:
            rows = with_keys(read_corpora([source]), compare_content=config.leakage.compare_content)
            for table in stream_tables(rows):
                report.add(table, images, config)
                if is_benchmark:
                    keys.add(table)
                else:
                    keys.find_leaks(table)
        except InbolError as error:  # the other corpora are still worth a look
            report.problem = str(error)
    return report


def _render(question: Question, config: PipelineConfig) -> dict:
    """The prompt as the pipeline makes it, with the first image looked at."""
    prompt = question_prompt(DEFAULT_FAMILY, question, config.prompts)
    if not question.images:
        image = "no image"
    else:
        try:
            shown = load_image(question.images[0], rule=pixel_rule(question.id))
            image = f"{shown.width} x {shown.width} pixels once padded"
        except ImageError as error:
            image = f"its image cannot be decoded: {error}"
    answer = question.gold_answers[0] if question.gold_answers else "(a refusal)"
    return {"id": question.id, "image": image, "prompt": prompt, "answer": answer}


def _find_problems(reports: list[CorpusReport], leaks: Leaks, config: PipelineConfig) -> list[str]:
    problems = [f"{report.name} cannot be read" for report in reports if report.problem]
    problems += [
        f"{report.name} holds no question" for report in reports if not report.problem and not report.num_questions
    ]
    if leaks.total and config.leakage.on_leak == "error":
        problems.append(
            f"{leaks.total:,} training questions are in the evaluation (set leakage.on_leak to `drop` or `allow`)"
        )
    return problems


def _describe_leaks(leaks: Leaks, config: PipelineConfig) -> str:
    compared = "COCO numbers and image content" if config.leakage.compare_content else "COCO numbers alone"
    if not leaks.total:
        return f"leakage         none found, by {compared}"
    return f"leakage         by {compared}; leakage.on_leak is {config.leakage.on_leak!r}\n{leaks.describe()}"


def _listed(counts: Counter[str]) -> str:
    return f"  ({', '.join(f'{name} {number:,}' for name, number in counts.most_common())})" if counts else ""


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(f"{label}: {text}", WIDTH, initial_indent="      ", subsequent_indent="        ")
