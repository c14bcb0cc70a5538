"""The network that ships is the one that is trained, and training repeats itself."""

import json

import numpy as np
import pytest
import torch

from inbol_ray.scoring.refusal_network import WEIGHTS, RefusalNetwork, load_network
from inbol_ray.scoring.refusal_training import (
    REPLIES,
    ROLE_LETTERS,
    Batch,
    Coordinates,
    Example,
    Recipe,
    fit,
    pack_examples,
    read_glove,
    save,
    to_arrays,
)

TINY = Recipe(epochs=2, hidden=6, clause_width=5, verdict_width=4, word_width=3, part_width=2, coordinates=2)


def rows_of(file: str, number: int) -> list[dict]:
    return [json.loads(line) for line in (REPLIES / file).read_text("utf-8").splitlines()[:number]]


@pytest.fixture(scope="module")
def examples():
    rows = rows_of("balanced_1.jsonl", 40) + rows_of("languages_1.jsonl", 20) + rows_of("chat.jsonl", 4)
    return [*map(Example, rows), Example({"reply": "", "refusal": False})]


@pytest.fixture(scope="module")
def coordinates():
    return Coordinates(["not", "sure", "red"], np.array([[1, 0], [0, 1], [-1, 2]], np.float32))


def test_numpy_and_torch_give_the_same_scores(examples, coordinates):
    network = fit(examples, coordinates, TINY)
    arrays = to_arrays(network, ["not"])
    shipped = RefusalNetwork(arrays)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():  # as rounded as those that ship
            values = arrays[name].astype(np.float32)
            scale = arrays.get(f"{name}.scale", np.float32(1))
            tensor.copy_(torch.from_numpy(values * scale))
        refusal, hedge, _ = network(Batch(examples, network))
    scores = shipped.score(pack_examples(examples))
    np.testing.assert_allclose(scores.refusal, torch.sigmoid(refusal).numpy(), atol=1e-5)
    np.testing.assert_allclose(scores.hedge, torch.sigmoid(hedge).numpy(), atol=1e-5)
    assert np.ptp(scores.refusal) > 0.01


def test_scores_depend_on_no_other_reply_of_the_batch(examples):
    network = load_network()
    together = network.score(pack_examples(examples)).refusal
    alone = [network.score(pack_examples([example])).refusal[0] for example in examples]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_training_again_gives_the_same_file(examples, coordinates, tmp_path):
    for name in ("one", "two"):
        save(to_arrays(fit(examples, coordinates, TINY), ["not"]), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_ships_is_small():
    assert WEIGHTS.stat().st_size < 1 << 20


def test_every_labelled_reply_can_be_read():
    for file in REPLIES.glob("*.jsonl"):
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
            row = json.loads(line)
            place = f"{file.name}:{number}"
            assert set(row) <= {
                *("question", "choices", "reply", "refusal", "hedged", "kind", "language", "roles", "weight")
            }, place
            assert not (row["refusal"] and row.get("hedged")), place
            if "roles" in row:
                example = Example(row)
                assert example.roles == row["roles"] and set(row["roles"]) <= set(ROLE_LETTERS), place


def test_coordinates_come_from_a_glove_file(tmp_path):
    file = tmp_path / "glove.txt"
    file.write_text("the 1 0 2\n, 5 5 5\nred 0 1 1\nblue 0 1.5 0\ncaf\u00e9 1 1 1\ndog 3 1 0\n", "utf-8")
    found = read_glove(file, Recipe(coordinates=2, num_coordinate_words=3))
    assert found.words == ["the", "red", "blue"]
    assert found.values.shape == (3, 2) and abs(found.values.std() - 1) < 1e-5
