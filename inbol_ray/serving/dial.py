"""The dial: what a request or the operator asks for -> the rule that the engine follows."""

from dataclasses import dataclass, replace

from inbol_ray.calibration.thresholds import Calibration
from inbol_ray.sampling.chat_engine import ReplyOptions
from inbol_ray.serving.answer import Rule
from inbol_ray.serving.schema import DialOptions, RequestError

DEFAULT_SAMPLES = 8


@dataclass(frozen=True)
class ModelDial:
    """A model's calibration, if it has one, and what holds for requests that ask for nothing."""

    calibration: Calibration | None = None
    target_risk: float | None = None
    threshold: float | None = None

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

    def hold(self, options: ReplyOptions, max_tokens: int | None) -> ReplyOptions:
        """Options under which a target risk holds: those of calibration. Raises RequestError (400) for any other."""
        calibrated = self.calibration.max_tokens
        if options.temperature or options.stop or (max_tokens is not None and max_tokens < calibrated):
            raise RequestError(
                400,
                f"target_risk holds for greedy replies of up to {calibrated} tokens: leave out temperature, stop "
                "and a smaller max_tokens, or give inbol.threshold instead",
            )
        return replace(options, max_tokens=calibrated)

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
