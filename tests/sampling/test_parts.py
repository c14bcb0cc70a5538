"""Blocks and their parts on a local disk and on a real S3 server."""

import pickle

import pyarrow as pa
import pytest

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import DataError, RowCountError
from inbol_ray.sampling import parts as parts_module
from inbol_ray.sampling.in_hand import reply_table
from inbol_ray.sampling.parts import open_parts
from inbol_ray.sampling.vllm_engine import Reply

LOCAL = StorageConfig()
KEY = {"seed": 0}


def requests(count=10, checkpoints=("m",)):
    return pa.table(
        {
            "id": [f"q{n}" for n in range(count)],
            "checkpoint": [checkpoints[n * len(checkpoints) // count] for n in range(count)],
            "prompt": [f"What is {n}?" for n in range(count)],
        }
    )


def answer(parts, block, text="yes"):
    ids = parts.read_requests(block)["id"].to_pylist()
    parts.write(block, ids, reply_table([Reply([f"{text} {id}"], [[-1.0]]) for id in ids]))


def test_blocks_hold_one_checkpoint_and_at_most_the_block_size(tmp_path):
    parts = open_parts(str(tmp_path), LOCAL, [requests(10, ("a", "b"))], KEY, block_size=3)
    assert [parts.block_size(block) for block in range(parts.num_blocks)] == [3, 2, 3, 2]
    assert all(len(set(parts.read_requests(block)["checkpoint"].to_pylist())) == 1 for block in range(4))


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_requests_may_come_in_tables_of_any_size(tmp_path, rows):
    whole = requests(200, ("a", "b"))  # a row group and a bit of each
    pieces = (whole.slice(start, rows) for start in range(0, 200, rows))
    parts = open_parts(str(tmp_path), LOCAL, pieces, KEY, block_size=3)
    assert parts.uri == open_parts(str(tmp_path), LOCAL, [whole], KEY, block_size=3).uri
    blocks = [parts.read_requests(block) for block in range(parts.num_blocks)]
    assert (
        [block.num_rows for block in blocks]
        == [parts.block_size(n) for n in range(len(blocks))]
        == ([3] * 33 + [1]) * 2
    )
    assert pa.concat_tables(blocks) == whole


def test_no_requests_at_all_are_named(tmp_path):
    with pytest.raises(DataError, match="no requests to answer"):
        open_parts(str(tmp_path), LOCAL, [requests(0)], KEY, block_size=3)


def test_replies_come_back_in_the_requests_order_with_their_columns(tmp_path):
    parts = open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=4)
    for block in (2, 0, 1):
        answer(parts, block)
    rows = list(parts.rows())
    assert [row["id"] for row in rows] == [f"q{n}" for n in range(10)]
    assert rows[7]["prompt"] == "What is 7?" and rows[7]["responses"] == ["yes q7"]


def test_the_same_work_finds_its_parts_and_other_work_does_not(tmp_path):
    first = open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=4)
    answer(first, 1)
    assert open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=4).finished() == {1}
    assert open_parts(str(tmp_path), LOCAL, [requests()], {"seed": 1}, block_size=4).finished() == set()
    assert open_parts(str(tmp_path), LOCAL, [requests(11)], KEY, block_size=4).finished() == set()
    assert open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=5).finished() == set()


def test_replies_of_another_version_are_left_alone(tmp_path, monkeypatch):
    answer(open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=10), 0)
    assert len(parts_module.list_parts(str(tmp_path), LOCAL)) == 1
    monkeypatch.setattr(parts_module, "REPLY_VERSION", parts_module.REPLY_VERSION + 1)
    assert parts_module.list_parts(str(tmp_path), LOCAL) == []
    assert open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=10).finished() == set()


def test_a_block_done_twice_counts_once(tmp_path):
    parts = open_parts(str(tmp_path), LOCAL, [requests(4)], KEY, block_size=4)
    answer(parts, 0, "first")
    answer(parts, 0, "second")
    assert [row["responses"] for row in parts.rows()] == [[f"second q{n}"] for n in range(4)]


def test_half_a_file_is_no_part(tmp_path):
    parts = open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=4)
    (folder,) = tmp_path.iterdir()
    (folder / ".00000001.parquet.0123.partial").write_bytes(b"PAR1")  # what a killed writer leaves
    assert parts.finished() == set() and not parts.is_finished(1)
    answer(parts, 1)
    assert parts.finished() == {1} and parts.is_finished(1)


def test_a_broken_or_wrong_part_is_named(tmp_path):
    parts = open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=5)
    answer(parts, 0)
    parts.write(1, ["q0"], reply_table([Reply(["no"])]))
    with pytest.raises(RowCountError, match="00000001.parquet"):
        list(parts.read())
    (folder,) = tmp_path.iterdir()
    (folder / "00000000.parquet").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="00000000.parquet: cannot be read"):
        list(parts.read())


def test_a_last_failure_is_told_until_the_next_start(tmp_path):
    parts = open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=5)
    assert parts.last_failure() == ""
    parts.report_failure("no cake")
    assert pickle.loads(pickle.dumps(parts)).last_failure() == "no cake"
    assert open_parts(str(tmp_path), LOCAL, [requests()], KEY, block_size=5).last_failure() == ""


def test_parts_on_a_real_s3_server(s3_bucket):
    uri = f"{s3_bucket.uri}/runs"
    parts = open_parts(uri, s3_bucket.storage, [requests()], KEY, block_size=4)
    for block in (2, 0):
        answer(parts, block)
    client = s3_bucket.server.client()
    key = f"{parts.uri.removeprefix(s3_bucket.uri)[1:]}/00000001.parquet"
    upload = client.create_multipart_upload(Bucket=s3_bucket.name, Key=key)["UploadId"]
    client.upload_part(Bucket=s3_bucket.name, Key=key, UploadId=upload, PartNumber=1, Body=b"PAR1" * 2_000_000)
    again = open_parts(uri, s3_bucket.storage, [requests()], KEY, block_size=4)
    assert again.uri == parts.uri and again.finished() == {0, 2}  # an upload that was cut off is no part
    again.save(1, reply_table([Reply(["yes"])]).add_column(0, "row", pa.array([3], pa.int32())))
    assert parts.read_saved(1)["row"].to_pylist() == [3]
    again.delete_saved(1)
    assert parts.read_saved(1).num_rows == 0 and not parts.is_finished(1)
    answer(again, 1)
    assert [row["responses"] for row in again.rows()] == [[f"yes q{n}"] for n in range(10)]
