"""What is evaluated and calibrated."""

from typing import Annotated, Literal, get_args

from pydantic import Field, PositiveInt, model_validator

from inbol_ray.config.corpora import BenchmarkConfig
from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.section import OpenFraction, Section

UNTRAINED_METHODS = ("original", "refusal_prompt")
"""Methods that need no training: the model as it is, without and with the refusal instruction."""
PaperMethod = Literal["original", "refusal_prompt", "sft", "idk_it", "ca_dpo"]
Source = Literal["checkpoint", "endpoint", "replies"]
"""Where the replies of a model come from: fields of `OutsideModel`."""


class OutsideModel(Section):
    """A model that this run does not train: exactly one of `checkpoint`, `endpoint` and `replies`."""

    checkpoint: str | None = None
    """Local folder or hub name in the hub's llava-hf layout."""
    endpoint: EndpointConfig | None = None
    """An OpenAI-compatible server, which is asked the same questions in the same words."""
    replies: str | None = None
    """File of replies that came from elsewhere (`evaluation/reply_file.py` has the format): nothing is asked."""
    refusal_instruction: bool = False
    """Ask with the refusal prompt."""
    size: Literal["7b", "13b"] | None = None
    """Size of LLaVA-1.5; null means that the paper has no figure to compare with."""
    method: PaperMethod = "original"
    """Row of the paper's tables to compare with, where `size` is given."""

    @model_validator(mode="after")
    def _has_one_source(self) -> "OutsideModel":
        given = [name for name in get_args(Source) if getattr(self, name) is not None]
        if len(given) != 1:
            names = ", ".join(get_args(Source))
            raise ValueError(f"a model needs exactly one of {names}; found {' and '.join(given) or 'none'}")
        if self.replies is not None and self.refusal_instruction:
            raise ValueError("refusal_instruction has no effect on replies that are there already; remove it")
        return self

    @property
    def source(self) -> Source:
        return next(name for name in get_args(Source) if getattr(self, name) is not None)


class InDomainTest(Section):
    """A test of the size that the paper's in-domain figures imply: they are multiples of 0.1 percent, and what they say of
    unanswerable questions weighs a tenth. How it is drawn is ours."""

    questions: PositiveInt = 1_000
    """Questions of all in-domain benchmarks, as many of each as it has, drawn by a hash of the id and `seed`."""
    unanswerable: PositiveInt = 100
    """How many of them are unanswerable; the in-domain benchmarks must have such questions."""

    @model_validator(mode="after")
    def _some_are_answerable(self) -> "InDomainTest":
        if self.unanswerable >= self.questions:
            raise ValueError(
                f"unanswerable ({self.unanswerable}) must be below questions ({self.questions}), which it is a part of"
            )
        return self


class EvaluationConfig(Section):
    """What is compared, and on what."""

    benchmarks: list[BenchmarkConfig]
    methods: list[str] = ["original", "refusal_prompt", "sft", "idk_it", "ca_dpo"]
    """Rows of the table: `original`, `refusal_prompt`, and names of `training` entries."""
    models: dict[str, OutsideModel] = {}
    """More rows: checkpoints from outside, endpoints or files of replies, by the name that results give them."""
    pairs: list[tuple[str, str]] | None = None
    """(method or model, dataset) pairs to evaluate; null means every one on every benchmark."""
    size: Literal["7b", "13b"] | None = None
    """Size of the LLaVA-1.5 that `base_model` is: the methods are then compared with the paper's figures for it."""
    in_domain_test: InDomainTest | None = None
    """Score such a part of the benchmarks too (`{}` for the paper's size), from the same replies and beside the figures of
    the whole; null leaves it out."""
    max_tokens: PositiveInt = 16
    sample_confidence: bool = True
    """Sample the original model on the test questions too, as `sampling` says, for figure 4; false leaves it out."""


class CalibrationConfig(Section):
    """Thresholds for a target risk (`jobs/calibrate.py`)."""

    benchmarks: list[BenchmarkConfig]
    """Validation questions: of the kind that will be asked, and not the ones that a model was trained or chosen on."""
    methods: list[str] = ["ca_dpo"]
    """`original` and entries of `training`."""
    delta: OpenFraction = 0.1
    """Chance that a threshold misses its target risk, over the draw of the validation questions."""
    num_samples: Annotated[int, Field(ge=2)] = 8
    """Samples a question for `agreement`."""
