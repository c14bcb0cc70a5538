"""The corpora that a configuration can name. A new one is one file with its reader, and one line here."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from inbol_ray.config.corpora import CorpusConfig
from inbol_ray.corpora.aokvqa import read_aokvqa, read_aokvqa_direct
from inbol_ray.corpora.beyondvisqa import read_beyondvisqa, read_beyondvisqa_open
from inbol_ray.corpora.breakdown import HUMBLEBENCH, MMUPD, TUBENCH
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.gqa import read_gqa
from inbol_ray.corpora.humblebench import read_humblebench
from inbol_ray.corpora.kie_hvqa import read_kie_hvqa
from inbol_ray.corpora.mmbench import read_mmbench
from inbol_ray.corpora.mmmu import read_mmmu
from inbol_ray.corpora.mmupd import read_mmupd
from inbol_ray.corpora.mohobench import read_mohobench
from inbol_ray.corpora.oven import read_oven
from inbol_ray.corpora.own import read_own
from inbol_ray.corpora.scienceqa import read_scienceqa, read_scienceqa_full
from inbol_ray.corpora.tubench import read_tubench
from inbol_ray.corpora.vizwiz import read_vizwiz
from inbol_ray.corpora.vqav2 import read_vqav2
from inbol_ray.corpora.vqav2_idk import read_vqav2_idk, read_vqav2_idk_filtered
from inbol_ray.errors import ConfigError
from inbol_ray.rows import Question, Rejected

Reader = Callable[[CorpusFiles, str], Iterator[Question | Rejected]]
"""(files, split) -> rows in file order. Raises DataError at once where a file is missing, and holds a few rows only."""

READERS: dict[str, Reader] = {
    "vqav2": read_vqav2,
    "scienceqa": read_scienceqa,
    "scienceqa_full": read_scienceqa_full,
    "oven": read_oven,
    "aokvqa": read_aokvqa,
    "aokvqa_direct": read_aokvqa_direct,
    "gqa": read_gqa,
    "mmmu": read_mmmu,
    "mmbench": read_mmbench,
    "beyondvisqa": read_beyondvisqa,
    "beyondvisqa_open": read_beyondvisqa_open,
    "vizwiz": read_vizwiz,
    "vqav2_idk": read_vqav2_idk,
    "vqav2_idk_filtered": read_vqav2_idk_filtered,
    **{name: partial(read_mmupd, dataset=name) for name in MMUPD},
    **{name: partial(read_humblebench, dataset=name) for name in HUMBLEBENCH},
    "mohobench": read_mohobench,
    **{name: partial(read_tubench, dataset=name) for name in TUBENCH},
    "kie_hvqa": read_kie_hvqa,
    "own": read_own,
}


def check_readers(corpora: Iterable[CorpusConfig], section: str) -> None:
    """Raise ConfigError, one line each, for corpora without a reader; `section` is where they are configured."""
    known = ", ".join(READERS)
    problems = [
        f"{section}[{number}].dataset: no reader for this dataset; expected one of {known}; found {corpus.dataset!r}"
        for number, corpus in enumerate(corpora)
        if corpus.dataset not in READERS
    ]
    if problems:
        raise ConfigError("\n".join(problems))
