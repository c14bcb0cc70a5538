"""How the model's knowledge is sampled, judged and divided into classes, and unanswerable questions are made."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from inbol_ray.config.judge import JudgeConfig
from inbol_ray.config.section import Fraction, RunOnly, Section

Rule = Literal["ours", "official", "free_text"]
CorpusShares = Literal["proportional", "equal"]


class AdaptiveConfig(Section):
    """Stop sampling a question once its class is decided (`inbol_ray.method.stopping` has the test)."""

    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Among questions that stop early, the accepted share whose class all `num_samples` would have made another. Ours."""
    num_undoubted: PositiveInt = 2
    """Samples of a question that its corpus marks as unanswerable: it is Unknown whatever the model says."""


class SamplingConfig(Section):
    """How the model's knowledge is sampled (paper section 2, confidence estimation)."""

    num_samples: PositiveInt = 10
    """Responses a question, N. Ours: the paper's text at hand does not state it."""
    temperature: PositiveFloat = 1.0
    """Ours."""
    max_tokens: PositiveInt = 16
    """Longest response, in tokens."""
    correct_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A response with at least this score (VQA accuracy is graded) counts as correct. Ours."""
    adaptive: AdaptiveConfig | None = None
    """Draw fewer than N samples where fewer decide the class (`{}` for the defaults); null draws N, as in the paper."""
    publish_uri: RunOnly[str | None] = None
    """Folder or `s3://` prefix that the sampled dataset is also written to, its manifest last."""
    reuse_uri: str | None = None
    """Take the answers from the dataset that another run published here, instead of sampling."""
    allow_other_checkpoint: bool = False
    """Accept a `reuse_uri` that was sampled from another model. What one model knows says little about another."""

    @model_validator(mode="after")
    def _adaptive_at_temperature_1(self) -> "SamplingConfig":
        if self.adaptive is not None and self.temperature != 1:
            raise ValueError(
                f"adaptive sampling needs temperature 1, found {self.temperature:g}: its test takes the model's "
                "log-probabilities for those of the samples. Set temperature to 1, or adaptive to null"
            )
        return self


class ScoringRules(Section):
    """Which rule decides whether an answer is right; `scoring.answer_match` has the table."""

    rules: Rule = "ours"
    """`ours` normalises both sides of VQA accuracy always and reads an option in any usual form; `official` is each
    benchmark's own code to the digit, quirks included; `free_text` finds the answer in a sentence, for models that reply in
    sentences. Results name the rule they used, and give Acc under each."""
    entity_match: Literal["contains", "exact"] = "contains"
    """Whether an entity's name must be the whole first sentence of the reply, or be in it."""

    def rules_alone(self) -> "ScoringRules":
        """Without what a subclass adds: what the rules' own outcomes depend on."""
        return ScoringRules(rules=self.rules, entity_match=self.entity_match)


class ScoringConfig(ScoringRules):
    """The rules, and what is asked beside them."""

    judge: JudgeConfig | None = None
    """A model that judges evaluation's replies too: the report says how far it agrees and what it would change; scores
    stay those of the rules. null asks none."""


class UnanswerableConfig(Section):
    """Questions outside the extrinsic boundary: built two ways, then filtered (paper figure 2)."""

    num_mismatch: PositiveInt = 2_000
    """Candidates made by pairing an image with a question written for another image."""
    num_generated: PositiveInt = 1_000
    """Candidates that the model writes about an image, asked for one the image cannot answer."""
    generation_temperature: PositiveFloat = 1.0
    max_question_tokens: PositiveInt = 24
    filter_threshold: Fraction = 0.5
    """A candidate is dropped when the judge's probability that the image answers it reaches this. Ours."""
    num_kept: PositiveInt = 2_000
    """At most this many questions survive, drawn by a hash of the id and `seed`: half from each way where both have
    enough. Ours."""
    corpora: CorpusShares = "proportional"
    """How many images of candidates, and of the questions that survive a cut, come from each corpus: in proportion to its
    questions, or as many of each as there are. Ours."""


class ClassShares(Section):
    """Shares of Known, Mixed and Unknown questions, of a sum of 1."""

    known: Fraction
    mixed: Fraction
    unknown: Fraction

    @model_validator(mode="after")
    def _sums_to_one(self) -> "ClassShares":
        total = self.known + self.mixed + self.unknown
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of known, mixed and unknown sum to {total:g}; they must sum to 1")
        return self


class BalanceConfig(Section):
    """What training data is made of, by class and corpus. Questions are left out, none is repeated; which ones, a hash
    of the id and `seed` decides. Ours."""

    classes: ClassShares | None = None
    """Shares that the classes have: as many questions stay as allow for them. null leaves all that were sampled."""
    corpora: CorpusShares = "proportional"
    """What a class that is cut keeps of each corpus (questions of mismatch and of generation are one each): its share,
    or as many of each as it has."""

    @model_validator(mode="after")
    def _corpora_need_a_cut(self) -> "BalanceConfig":
        if self.corpora == "equal" and self.classes is None:
            raise ValueError(
                "corpora: 'equal' says how a class is cut, and none is cut without `classes`; set `classes` too, or give "
                "each corpus its size with corpora[].sample"
            )
        return self


class ClassConfig(Section):
    """Thresholds between Known, Mixed and Unknown (paper section 2; values ours)."""

    delta_known: Fraction = 0.7
    """delta_k: Known if confidence >= this."""
    delta_unknown: Fraction = 0.3
    """delta_uk: Unknown if confidence <= this."""

    @model_validator(mode="after")
    def _ordered(self) -> "ClassConfig":
        if self.delta_unknown >= self.delta_known:
            raise ValueError(
                f"delta_unknown ({self.delta_unknown}) must be below delta_known ({self.delta_known}): "
                "lower delta_unknown or raise delta_known"
            )
        return self
