"""Image features that policy and reference share."""

import pytest
import torch

from inbol_ray.errors import ConfigError
from inbol_ray.models.loading import load_model
from inbol_ray.training.objectives import frozen_image_features


def test_a_transformers_that_would_ignore_the_features_is_refused(tiny_llava, monkeypatch):
    model = load_model(str(tiny_llava)).requires_grad_(False)
    pixels = torch.zeros(1, 3, 48, 48)
    assert frozen_image_features(model, pixels) is not None

    def older(self, input_ids=None, **kwargs):  # 5.17's, as far as this matters
        raise AssertionError("must not be called")

    monkeypatch.setattr(type(model), "forward", older)
    with pytest.raises(ConfigError, match="would train without its pictures; install at least 5.19"):
        frozen_image_features(model, pixels)
