"""Rows of one corpus in this process, without Ray: CorpusSource -> Question | Rejected | NotDrawn, in file order."""

from collections.abc import Container, Iterator
from dataclasses import dataclass

from inbol_ray.config.corpora import TOYWORLD_PREFIX, CorpusConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.disk_index import DiskIndex
from inbol_ray.corpora.registry import READERS
from inbol_ray.corpora.sample import StratifiedSample
from inbol_ray.rows import Question, Rejected


@dataclass(frozen=True)
class CorpusSource:
    """A configured corpus, the folder or URI that its `root` stands for, where embedded images go, and the seed that a
    `sample` of it is drawn with. Without `keep_images` rows refer to embedded images as ever, but no file is
    written."""

    corpus: CorpusConfig
    root: str
    storage: StorageConfig = StorageConfig()
    image_folder: str | None = None
    seed: int = 0
    keep_images: bool = True

    def open(self, wanted_images: Container[str] | None = None) -> CorpusFiles:
        return CorpusFiles(self.root, self.storage, self.image_folder, wanted_images if self.keep_images else ())


@dataclass(frozen=True)
class NotDrawn:
    """The end of a corpus of which a subset was drawn."""

    num_questions: int


def corpus_source(
    corpus: CorpusConfig, toyworld: str | None, image_folder: str, storage: StorageConfig, seed: int
) -> CorpusSource:
    """Where a corpus is read from; `toyworld:NAME` is a folder of the toy world, whose artifact's URI is `toyworld`."""
    root = corpus.root
    if root.startswith(TOYWORLD_PREFIX):
        root = f"{toyworld}/corpora/{root.removeprefix(TOYWORLD_PREFIX)}"
    return CorpusSource(corpus, root, storage, image_folder, seed)


def check_files(source: CorpusSource) -> None:
    """Raise DataError where the corpus's files are missing."""
    with source.open() as files:
        READERS[source.corpus.dataset](files, source.corpus.split)


def read_rows(source: CorpusSource) -> Iterator[Question | Rejected | NotDrawn]:
    """Rows of one corpus in file order, in this process.

    With `sample` the rejected rows come first, all of them, then the questions of the subset, then how many are not in
    it. Of several questions with one id the first is kept and the others are rejected as `duplicate_id`. Raises
    DataError where a file is missing or unreadable.
    """
    if source.corpus.sample is None:
        with source.open() as files:
            yield from _rows_once(files, source.corpus)
        return
    with StratifiedSample(source.corpus.sample, source.seed) as sample:
        with source.open(wanted_images=()) as files:
            for row in _rows_once(files, source.corpus):
                if isinstance(row, Question):
                    sample.add(row)
                else:
                    yield row
        if files.passed_over and source.keep_images:
            _save_images(source, {reference for question in sample.drawn() for reference in question.images})
        yield from sample.drawn()
        yield NotDrawn(sample.num_seen - sample.num_drawn)


def _rows_once(files: CorpusFiles, corpus: CorpusConfig) -> Iterator[Question | Rejected]:
    with DiskIndex() as first_row:
        for number, row in enumerate(READERS[corpus.dataset](files, corpus.split)):
            if isinstance(row, Question) and not first_row.add(row.id, number):
                row = _duplicate(row, files.root, number, first_row.get(row.id))
            yield row


def _save_images(source: CorpusSource, wanted: set[str]) -> None:
    """Read the corpus again for the embedded images of a subset: until it is drawn, no image is known to be needed."""
    with source.open(wanted_images=wanted) as files:
        for _ in READERS[source.corpus.dataset](files, source.corpus.split):
            pass


def _duplicate(question: Question, root: str, number: int, first: int) -> Rejected:
    detail = (
        f"{root}, questions of {question.dataset}, split {question.split}, row {number} (from 0), field 'id': found "
        f"{question.id}, which row {first} has, expected every id once. Row {first} was kept: remove row {number} or "
        "give it an id of its own."
    )
    return Rejected(question.id, question.dataset, "duplicate_id", detail)
