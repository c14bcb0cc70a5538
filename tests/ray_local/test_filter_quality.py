"""The quality filter against the toy world's truth, with the demo's own base model. Takes about five minutes."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from inbol_ray.config.load import load_config
from inbol_ray.method.answerability import is_unanswerable
from inbol_ray.pipeline import build_stages
from inbol_ray.store.artifacts import open_store
from inbol_ray.toyworld import questions, scenes

ROOT = Path(__file__).parents[2]


def read_scenes(corpora: Path) -> dict[str, scenes.Scene]:
    """Scene by the id of the question that its image was drawn for, as candidate ids spell it."""
    found = {}
    for line in (corpora / "truth.jsonl").read_text().splitlines():
        row = json.loads(line)
        things = tuple(scenes.Thing(**thing) for thing in row["scene"]["things"])
        found[row["id"].replace(":", "_")] = scenes.Scene(**{**row["scene"], "things": things})
    return found


@pytest.mark.slow
def test_the_filter_keeps_unanswerable_questions(tmp_path_factory, capsys):
    out_dir = tmp_path_factory.mktemp("filter")
    options = ["--config", "jobs/configs/demo.yaml", "--output_dir", str(out_dir)]
    subprocess.run([sys.executable, "jobs/unanswerable.py", *options], cwd=ROOT, check=True, timeout=1500)
    config = load_config(options)
    stages, store = build_stages(config), open_store(config)
    scene_of = read_scenes(store.folder(stages["toyworld"]) / "corpora")
    candidates = pq.read_table(store.folder(stages["unanswerable"]) / "candidates.parquet").to_pylist()
    for source in ("mismatch", "generated"):
        pairs = []
        for row in (row for row in candidates if row["dataset"] == source):
            image_of = row["id"].split(":train:")[1].split("+")[0]
            truth = not questions.is_answerable(scene_of[image_of], row["question"])
            kept = is_unanswerable(row["answerable_probability"], config.unanswerable.filter_threshold)
            pairs.append((truth, kept))
        true_kept = sum(truth and kept for truth, kept in pairs)
        base_rate = sum(truth for truth, _ in pairs) / len(pairs)
        precision = true_kept / max(1, sum(kept for _, kept in pairs))
        recall = true_kept / max(1, sum(truth for truth, _ in pairs))
        with capsys.disabled():
            print(f"\n{source}: {len(pairs)} candidates, {base_rate:.1%} unanswerable; ", end="")
            print(f"filter precision {precision:.1%}, recall {recall:.1%}")
        # A filter that keeps at random has the base rate as its precision.
        assert precision > base_rate + 0.5 * (1 - base_rate)
        assert recall > 0.1
