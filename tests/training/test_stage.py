"""Rows that are too long are dropped and counted, never cut."""

from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stage_context import stage_context

from inbol_ray.config.load import load_config
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.training import SupervisedConfig
from inbol_ray.rows import CONVERSATION
from inbol_ray.training.batches import NUM_TOKENS
from inbol_ray.training.stage import _drop_long, _read_rows


def with_method(method: SupervisedConfig) -> PipelineConfig:
    """The demo with this method as `idk_it`."""
    config = load_config(["--config", "jobs/configs/demo.yaml"])
    return config.model_copy(update={"training": config.training | {"idk_it": method}})


def test_a_sample_keeps_the_shares_of_corpora_and_classes(tmp_path):
    sizes = {("oven", "unknown"): 60, ("oven", "known"): 20, ("vqav2", "known"): 100, ("vqav2", "unknown"): 20}
    rows = [
        {"id": f"{corpus}:train:{k}", "images": [], "turns": [{"user": "?", "assistant": "x"}], "knowledge": known}
        for (corpus, known), count in sizes.items()
        for k in (range(count) if known == "known" else range(1000, 1000 + count))
    ]
    found = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        pq.write_table(pa.Table.from_pylist(order, schema=CONVERSATION), tmp_path / name / "idk.parquet")
        config = SupervisedConfig(init_from="original", learning_rate=1, data="idk", sample=50)
        context = stage_context(tmp_path, with_method(config), "idk_it", data=tmp_path / name)
        found.append(_read_rows(context).to_pylist())
    assert found[0] == found[1] and [row["id"] for row in found[0]] == sorted(row["id"] for row in found[0])
    drawn = Counter((row["id"].partition(":")[0], row["knowledge"]) for row in found[0])
    assert drawn == {stratum: count / 4 for stratum, count in sizes.items()}


@pytest.mark.parametrize("budget", [None, 500])
def test_long_rows_are_rejected_with_their_length(budget, tiny_llava, tmp_path):
    rows = [
        {
            "id": f"{count}",
            "images": ["x.png"],
            "turns": [{"user": "why " * count, "assistant": "no"}],
            "knowledge": None,
        }
        for count in (1, 20, 90)
    ]
    table = pa.Table.from_pylist(rows, schema=CONVERSATION)
    config = SupervisedConfig(
        init_from="original", learning_rate=1, data="idk", max_length=80, micro_batch_tokens=budget
    )
    context = stage_context(tmp_path, with_method(config), "idk_it")
    kept = _drop_long(context, table, str(tiny_llava))
    assert kept["id"].to_pylist() == ["1", "20"]
    context.close()
    [rejected] = pq.read_table(tmp_path / "rejected.parquet").to_pylist()
    assert (rejected["id"], rejected["reason"]) == ("90", "too_long")
    assert "tokens exceed max_length 80" in rejected["detail"]
    assert (NUM_TOKENS in kept.column_names) == (budget is not None)
