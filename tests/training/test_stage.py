"""Rows that are too long are dropped and counted, never cut."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inbol_ray.artifacts import StageContext
from inbol_ray.config.load import load_config
from inbol_ray.config.schema import SupervisedConfig
from inbol_ray.rows import CONVERSATION
from inbol_ray.training.batches import NUM_TOKENS
from inbol_ray.training.stage import _drop_long


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
    demo = load_config(["--config", "jobs/configs/demo.yaml"])
    context = StageContext(tmp_path, {}, demo, {}, tmp_path / "progress")
    kept = _drop_long(context, table, config, str(tiny_llava))
    assert kept["id"].to_pylist() == ["1", "20"]
    context.close()
    [rejected] = pq.read_table(tmp_path / "rejected.parquet").to_pylist()
    assert (rejected["id"], rejected["reason"]) == ("90", "too_long")
    assert "tokens exceed max_length 80" in rejected["detail"]
    assert (NUM_TOKENS in kept.column_names) == (budget is not None)
