"""Every example runs and computes what it says."""

import importlib.util
import math
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_script_is_in_the_readme_and_tested_here():
    tested = {"ca_dpo_own_loop", "ca_dpo_in_trl", "score_replies_file", "calibrate_confidences", "own_corpus"}
    readme = (EXAMPLES / "README.md").read_text()
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested
    assert all(f"]({name}.py)" in readme for name in tested)


@pytest.mark.parametrize("name", ["ca_dpo_own_loop", "ca_dpo_in_trl"])
def test_training_starts_at_log_2_and_learns(name):
    losses = load(name).main()
    # The policy starts as the reference: every margin is 0, and the weights of every sample sum to 1.
    assert losses[0] == pytest.approx(math.log(2), abs=1e-3)
    assert losses[-1] < 0.5


def test_score_replies_file():
    rows = {row["method"]: row for row in load("score_replies_file").main().results["results"]}
    assert (rows["sure"]["acc"], rows["sure"]["refr"], rows["sure"]["s_trust"]) == (50, 0, 0)
    assert (rows["careful"]["acc"], rows["careful"]["refr"], rows["careful"]["s_trust"]) == (50, 50, 50)


def test_calibrate_confidences(tmp_path):
    example = load("calibrate_confidences")
    simulated = example.main()
    assert simulated.thresholds[0.05] > simulated.thresholds[0.1] > simulated.thresholds[0.2]
    file = tmp_path / "answers.csv"
    file.write_text("confidence,correct\n" + "0.9,true\n" * 300 + "0.3,false\n" * 100)
    calibration = example.main(str(file))
    # The laxest threshold of the grid between the wrong answers and the right ones.
    assert 0.3 < calibration.thresholds[0.05] < 0.9
    assert calibration.ece == pytest.approx((300 * 0.1 + 100 * 0.3) / 400)


def test_calibrate_confidences_names_the_wrong_row(tmp_path):
    file = tmp_path / "answers.csv"
    file.write_text("confidence,correct\n0.9,true\n90,false\n")
    with pytest.raises(ValueError, match=r"answers.csv, row 2: confidence is 90.0"):
        load("calibrate_confidences").main(str(file))


def test_own_corpus():
    questions, rejected = load("own_corpus").main()
    assert [question.id for question in questions] == ["own:train:1", "own:train:2", "own:train:3"]
    assert [(row.id, row.reason) for row in rejected] == [("own:train:4", "missing_image")]
