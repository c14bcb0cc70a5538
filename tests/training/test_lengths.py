"""Token counts that many processes make are those that one makes."""

import pyarrow as pa
import pytest
import ray

from inbol_ray.config.training import CaDpoConfig, SupervisedConfig
from inbol_ray.method.preference_pairs import add_pair_weights
from inbol_ray.rows import CONVERSATION, PREFERENCE_SET
from inbol_ray.training import lengths
from inbol_ray.training.batches import add_token_counts

SUPERVISED = SupervisedConfig(init_from="original", learning_rate=1, data="idk")
PREFERENCES = CaDpoConfig(init_from="original", learning_rate=1)


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def conversations(count):
    rows = [
        {
            "id": f"{n:03d}",
            "images": ["x.png"] * (n % 2),
            "turns": [{"user": "why " * (n % 17), "assistant": "no"}] * (1 + n % 3),
            "knowledge": None,
        }
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=CONVERSATION)


def preferences(count):
    rows = [
        {
            "id": f"{n:03d}",
            "images": ["x.png"],
            "user": "why " * (n % 13),
            "correct": "red " * (n % 5),
            "incorrect": None if n % 7 == 0 else "dark blue",
            "refusal": "I don't know.",
            "knowledge": "mixed",
            "confidence": 0.5,
        }
        for n in range(count)
    ]
    return add_pair_weights(pa.Table.from_pylist(rows, schema=PREFERENCE_SET))


@pytest.mark.parametrize(("config", "make"), [(SUPERVISED, conversations), (PREFERENCES, preferences)])
def test_counts_do_not_depend_on_how_rows_are_spread(config, make, cluster, tiny_llava, monkeypatch):
    rows = make(50)
    expected = add_token_counts(rows, lengths.load_objective(config, str(tiny_llava)))["num_tokens"].to_pylist()
    assert len(set(expected)) > 10
    monkeypatch.setattr(lengths, "ROWS_PER_TASK", 7)
    monkeypatch.setattr(lengths, "_count_slice", lambda *_: pytest.fail("counted in the driver"))
    assert lengths.count_tokens(rows, config, str(tiny_llava)) == expected


def test_an_error_of_a_task_is_the_encoders_own(cluster, tiny_llava, tmp_path, monkeypatch):
    monkeypatch.setattr(lengths, "ROWS_PER_TASK", 2)
    with pytest.raises(ValueError, match="config.json: no JSON") as refusal:
        lengths.count_tokens(conversations(5), SUPERVISED, str(tmp_path))
    assert "\n" not in str(refusal.value)
