"""Which questions are read: the toy world, corpora, benchmarks, and the check for leakage."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from inbol_ray.config.section import Fraction, Section

OnLeak = Literal["error", "drop", "allow"]
Domain = Literal["in_domain", "out_of_domain"]
TOYWORLD_PREFIX = "toyworld:"


class ToyWorldConfig(Section):
    """The rendered world that stands in for downloaded corpora and for LLaVA's pretraining."""

    num_pretrain_images: PositiveInt = 32_000
    """Scenes in the visual instruction corpus that the base model is trained on."""
    num_captioned_images: PositiveInt = 16_000
    """At most this many of them are in its captions too, which LLaVA's first step learns from."""
    num_train_questions: PositiveInt = 6_000
    """Answerable questions in the training corpora (VQAv2, ScienceQA and OVEN formats together)."""
    num_validation_questions: PositiveInt = 1_000
    """Questions a domain in the validation split, on which every choice is made."""
    num_test_questions: PositiveInt = 1_000
    """Questions a domain in the test split."""
    unanswerable_test_rate: Fraction = 0.25
    """Share of test and validation questions that their image cannot answer."""


class CorpusConfig(Section):
    """One corpus or benchmark, in its official format or as the hub's Parquet copy."""

    dataset: str
    """A name in `inbol_ray.corpora.registry`: `vqav2`, `scienceqa`, `oven`, `own` (your data) and others."""
    split: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    """Split as the corpus names it, for example `train2014` (VQAv2), `train` (ScienceQA), `entity_train` (OVEN)."""
    root: str
    """Folder with the corpus's files, or `s3://bucket/prefix`; `toyworld:NAME` is a folder that the toy world wrote."""
    sample: PositiveInt | None = None
    """Take this many questions: a subset drawn by a hash of the id and `seed`, in which the corpus's classes (such as
    VQAv2's answer types or ScienceQA's subjects) keep their shares; null takes all. The whole file is read either way, so
    that its order does not matter. Ours."""


class BenchmarkConfig(CorpusConfig):
    """A corpus to evaluate on."""

    domain: Domain
    """`in_domain` (shares its corpus with the training data) or `out_of_domain`."""


class LeakageConfig(Section):
    """Training questions that show or ask what the evaluation uses."""

    on_leak: OnLeak = "error"
    """`error` stops before any training; `drop` rejects the training questions; `allow` trains on them all the same.
    The choice and what it met are in the manifest of the stage `questions`."""
    compare_content: bool = True
    """Compare images by the SHA-256 of their files, which reads every image once; false leaves COCO's numbers."""
