"""What engines of one replica share."""

import os

import pytest

from inbol_ray.serving.engines import own_devices


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ("4,5", ["4", "5"]),
        ("0,1,2,3", ["0,1", "2,3"]),
        ("7", ["7", "7"]),  # half a GPU each
        ("", ["", ""]),
    ],
)
def test_each_engine_sees_its_share_of_the_replicas_gpus(monkeypatch, given, shares):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    seen = []
    for index in range(2):
        with own_devices(index, 2):
            seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert seen == shares and os.environ["CUDA_VISIBLE_DEVICES"] == given
