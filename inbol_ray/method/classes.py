"""Confidence -> Known, Mixed or Unknown."""

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.rows import Knowledge

DEFAULT_CLASSES = ClassConfig()


def classify(confidence: float, answerable: bool | None = None, classes: ClassConfig = DEFAULT_CLASSES) -> Knowledge:
    """Known if confidence >= delta_k, Unknown if confidence <= delta_uk, Mixed between; confidence in [0, 1].

    A question outside the extrinsic boundary (`answerable` False) is Unknown whatever its confidence.
    Source: InBoL (arXiv 2412.11196) section 2, data construction.
    """
    # Sampled confidences are multiples of 1/N: the tolerance undoes float32.
    if answerable is False or confidence <= classes.delta_unknown + 1e-6:
        return "unknown"
    return "known" if confidence >= classes.delta_known - 1e-6 else "mixed"
