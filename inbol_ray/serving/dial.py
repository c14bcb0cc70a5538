"""The dial: what a request or the operator asks for -> the rule that the engine follows."""

from dataclasses import dataclass, replace

from inbol_ray.calibration.calibration_file import Calibration
from inbol_ray.calibration.conditions import Conditions, differences
from inbol_ray.config.model import PromptConfig
from inbol_ray.config.serving import ServedModel
from inbol_ray.sampling.chat_engine import ReplyOptions
from inbol_ray.serving.answer import Rule
from inbol_ray.serving.dialogue import Dialogue
from inbol_ray.serving.schema import DialOptions, RequestError

DEFAULT_SAMPLES = 8


@dataclass(frozen=True)
class ModelDial:
    """A model's calibration, if it has one, how the model is asked, and what holds for requests that ask for nothing."""

    calibration: Calibration | None = None
    target_risk: float | None = None
    threshold: float | None = None
    prompts: PromptConfig = PromptConfig(answer_suffix=False)
    obstacles: tuple[str, ...] = ()
    """Why the calibration holds for no request here (`conditions.differences`)."""

    def rule(self, asked: DialOptions | None, max_samples: int) -> Rule:
        """Raises RequestError (400) for a target that the model has not been calibrated for."""
        asked = asked or DialOptions()
        default = asked.target_risk is None and asked.threshold is None
        if default and asked.signal == "agreement" and self.threshold is not None:
            default = False  # a raw threshold is one of the first token's confidence
        target_risk = self.target_risk if default else asked.target_risk
        threshold = self.threshold if default else asked.threshold
        num_samples = self._num_samples(asked, target_risk, max_samples)
        if target_risk is not None:
            threshold = self._calibrated(asked.signal, target_risk)
        return Rule(asked.signal, threshold, target_risk, num_samples)

    def hold(self, options: ReplyOptions, max_tokens: int | None, dialogue: Dialogue) -> ReplyOptions:
        """Options under which a target risk holds: those of calibration. Raises RequestError (400) for any other.

        So it does for a dialogue of a form that calibration did not ask in.
        """
        if self.obstacles:
            raise RequestError(400, self._refusal(self.obstacles[0]), param="inbol.target_risk")
        if len(dialogue.turns) > 1:
            reason = "calibration asked single questions: send only the last one"
            raise RequestError(400, self._refusal(reason), param="messages")
        if dialogue.system is not None and (dialogue.system or None) != self.calibration.conditions.prompts.system:
            reason = "calibration did not ask with this system message: leave it out"
            raise RequestError(400, self._refusal(reason), param="messages")
        calibrated = self.calibration.max_tokens
        if options.temperature or options.stop or (max_tokens is not None and max_tokens < calibrated):
            raise RequestError(
                400,
                f"target_risk holds for greedy replies of up to {calibrated} tokens: leave out temperature, stop "
                "and a smaller max_tokens, or give inbol.threshold instead",
            )
        images = {kind.num_images for kind in self.calibration.kinds}
        if len(dialogue.image_urls) not in images:
            reason = f"calibration asked about {' or '.join(map(str, sorted(images)))} image(s) a question"
            raise RequestError(400, self._refusal(reason), param="messages")
        return replace(options, max_tokens=calibrated)

    @staticmethod
    def _refusal(reason: str) -> str:
        return f"target_risk does not hold for this request, for {reason}; or give inbol.threshold instead"

    def _num_samples(self, asked: DialOptions, target_risk: float | None, max_samples: int) -> int:
        if asked.signal != "agreement":
            return 0
        fitted = self.calibration.signals.get("agreement") if self.calibration else None
        calibrated = fitted.num_samples if fitted else DEFAULT_SAMPLES
        num_samples = asked.num_samples or calibrated
        if num_samples > max_samples:
            raise RequestError(400, f"inbol.num_samples may be {max_samples} at most", param="inbol.num_samples")
        if target_risk is not None and num_samples != calibrated:
            raise RequestError(
                400, f"target_risk was calibrated with {calibrated} samples; leave num_samples out", param="inbol"
            )
        return num_samples

    def _calibrated(self, signal: str, target_risk: float) -> float:
        fitted = self.calibration.signals.get(signal) if self.calibration else None
        if fitted is None:
            raise RequestError(
                400,
                f"this model has no calibration for signal {signal!r}: give inbol.threshold instead of target_risk",
                param="inbol.target_risk",
            )
        return fitted.threshold_for(target_risk)


def make_dial(model: ServedModel, calibration: Calibration | None, conditions: Conditions) -> ModelDial:
    """The dial of a served model; `conditions` are the server's, but for the model's `answer_suffix`."""
    answer_suffix = model.answer_suffix
    if answer_suffix is None:
        answer_suffix = calibration is not None and calibration.conditions.prompts.answer_suffix
    prompts = conditions.prompts.model_copy(update={"answer_suffix": answer_suffix})
    served = conditions.model_copy(update={"prompts": prompts})
    obstacles = tuple(differences(calibration.conditions, served)) if calibration else ()
    return ModelDial(calibration, model.target_risk, model.threshold, prompts, obstacles)
