"""How much a stage has to do, in units that `inbol_ray.plan` turns into time, memory and bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Needs = Literal["tasks", "engines", "workers"]
"""What a stage computes with: the driver and Ray's tasks alone, a pool of vLLM engines (`settings.engine`), or training
workers (`settings.training`)."""

ROW_BYTES = 700
"""A row of answers without its responses, compressed: id, question, references, gold answers."""
RESPONSE_BYTES = 40
"""A response, its outcome and score."""


@dataclass(frozen=True)
class Sizes:
    """What a run is expected to handle: counted where a stage is finished, configured or official numbers elsewhere."""

    train: int
    """Questions of the training corpora."""
    test: int
    """Questions of the benchmarks."""
    validation: int
    """Questions of the calibration benchmarks."""
    unanswerable: int
    """Unanswerable questions that are kept."""
    conversations: int
    captions: int
    """Rows of the toy world's instruction corpora."""
    prompt_tokens: int
    """Of a prompt, its image included."""
    response_tokens: int
    """Of a reply, unless a stage's own limit is lower."""
    parameters: float
    """Of the model."""
    finished: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Counts of the finished stages, by name."""

    @property
    def data(self) -> int:
        """Questions that training data is made of."""
        return self.train + self.unanswerable


@dataclass(frozen=True)
class Work:
    """One stage's work. `unit` names what `num_units` counts, as progress and manifests do."""

    unit: str
    num_units: int
    samples: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0
    training_tokens: int = 0
    passes: float = 0.0
    """Forward passes that a trained token costs, a backward pass counting as two."""
    bytes_written: int = 0
    judged: bool = False
    """Whether Ray's tasks judge the samples afterwards."""
    stage: str = ""
    needs: Needs = "tasks"
    streams: bool = False
    """As its stage has them."""
    source: str = ""
    """Where the number of units comes from, for a person."""

    @property
    def flops_per_parameter(self) -> float:
        """Floating point operations for each parameter of the model: two a token and forward pass."""
        return 2 * (self.prompt_tokens + self.training_tokens * self.passes)
