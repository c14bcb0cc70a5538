"""Corpora through real Ray Data, from folders and from a real S3 server: streaming, rejects, leakage, the stage."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from benchmark_files import write_benchmarks
from corpus_writers import png, write
from refusal_benchmark_files import REFUSAL_SPLITS
from stage_context import stage_context

from inbol_ray.config.corpora import BenchmarkConfig, CorpusConfig, LeakageConfig
from inbol_ray.config.evaluation import EvaluationConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.corpora.check import check_corpora
from inbol_ray.corpora.leakage import with_keys
from inbol_ray.corpora.read import BLOCK_BYTES, CORPUS_ROW, read_corpora, stream_tables
from inbol_ray.corpora.source import CorpusSource
from inbol_ray.errors import DataError, InbolError, LeakageError
from inbol_ray.images import load_image
from inbol_ray.pipeline import build_stages
from inbol_ray.rows import QUESTION

NUM_ROWS = 5_003


@pytest.fixture(scope="module", autouse=True)
def cluster(s3_server):
    """Ray on this machine, whose workers have the keys of the S3 server."""
    ray.init(
        address="local",
        num_cpus=3,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": s3_server.environment},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def source(root, dataset="own", split="train", storage=None, image_folder=None, **fields) -> CorpusSource:
    corpus = CorpusConfig(dataset=dataset, split=split, root=str(root), **fields)
    return CorpusSource(corpus, str(root), storage or StorageConfig(), image_folder)


def read(*sources) -> list[dict]:
    return pa.concat_tables(stream_tables(read_corpora(sources))).to_pylist()


def own_row(number: int, image: str = "a.png", **fields) -> dict:
    return {"id": number, "question": f"What is {number}?", "image": image, "answers": ["it"]} | fields


def test_rows_come_once_each_in_order_with_rejected_rows_among_them(tmp_path):
    for name in ("one", "two"):
        rows = [own_row(k, "gone.png" if k % 1000 == 7 else "a.png") for k in range(NUM_ROWS)]
        write(tmp_path / name / "train.jsonl", rows + rows[:2])
        write(tmp_path / name / "a.png", png())
    write(tmp_path / "two" / "other.jsonl", [])
    sources = [source(tmp_path / "one"), source(tmp_path / "two", split="other"), source(tmp_path / "two", sample=2100)]
    rows = read(*sources)
    first = rows[: NUM_ROWS + 2]
    assert [row["id"] for row in first] == [f"own:train:{k}" for k in (*range(NUM_ROWS), 0, 1)]
    rejected = {row["id"]: row["reason"] for row in first if row["reason"]}
    assert rejected == {f"own:train:{k}": "missing_image" for k in range(7, NUM_ROWS, 1000)} | {
        "own:train:0": "duplicate_id",
        "own:train:1": "duplicate_id",
    }
    assert all("expected" in row["detail"] for row in first if row["reason"])
    *drawn, end = rows[NUM_ROWS + 2 :]
    assert (end["id"], end["reason"], end["num_not_drawn"]) == ("own:train", "not_drawn", NUM_ROWS - 5 - 2100)
    assert {row["id"]: row["reason"] for row in drawn if row["reason"]} == rejected
    assert sum(row["reason"] is None for row in drawn) == 2100
    alone = [row["id"] for row in read(sources[2]) if row["reason"] is None]
    assert alone == [row["id"] for row in drawn if row["reason"] is None]


def test_blocks_are_small_and_typed(tmp_path):
    write(tmp_path / "train.jsonl", [own_row(k, hint="a long text " * 100) for k in range(NUM_ROWS)])
    write(tmp_path / "a.png", png())
    rows = read_corpora([source(tmp_path)])
    for dataset in (rows, with_keys(rows, compare_content=True)):
        tables = list(stream_tables(dataset))
        assert sum(table.num_rows for table in tables) == NUM_ROWS
        assert max(table.nbytes for table in tables) < 3 * BLOCK_BYTES
        assert all(table.select(CORPUS_ROW.names).schema == CORPUS_ROW for table in tables)


def test_a_missing_file_is_an_error_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match=r"train\.jsonl"):
        read_corpora([source(tmp_path)])


def test_an_unreadable_file_is_an_error_of_ours(tmp_path):
    write(tmp_path / "val.json", '[{"image": "a.jpg", "question": "cut')
    with pytest.raises(DataError, match="not valid JSON") as caught:
        read(source(tmp_path, "vizwiz", "val"))
    assert str(tmp_path / "val.json") in str(caught.value)


def write_vqav2(root, num_images: int = 3) -> None:
    ids = range(num_images)
    questions = [{"question_id": 1000 * k, "image_id": k, "question": "What?"} for k in ids]
    annotations = [{"question_id": 1000 * k, "image_id": k, "answers": [{"answer": "red"}] * 10} for k in reversed(ids)]
    write(root / "v2_OpenEnded_mscoco_train2014_questions.json", {"questions": questions})
    write(root / "v2_mscoco_train2014_annotations.json", {"annotations": annotations})
    for k in ids[:-1]:
        write(root / "train2014" / f"COCO_train2014_{k:012d}.jpg", png(k))


def test_a_corpus_in_a_store_reads_as_in_a_folder(tmp_path, s3_bucket):
    write_vqav2(tmp_path)
    uri = s3_bucket.upload(tmp_path, "some prefix/vqa?2")
    local = read(source(tmp_path, "vqav2", "train2014"))
    remote = read(source(uri, "vqav2", "train2014", s3_bucket.storage))
    assert [row["reason"] for row in local] == [None, None, "missing_image"]
    for one, other in zip(local, remote, strict=True):
        if one["reason"] is None:
            (image,), (remote_image,) = one.pop("images"), other.pop("images")
            assert remote_image.startswith("s3://")
            # The reference alone is enough to open the image: no configuration is at hand where pixels are needed.
            assert load_image(remote_image).tobytes() == load_image(image).tobytes()
        assert one.pop("detail") is None or uri in other["detail"]
        other.pop("detail")
        assert one == other


def test_embedded_images_of_a_store_go_to_a_store(tmp_path, s3_bucket):
    rows = [own_row(k, image={"bytes": png(k // 2), "path": None}) for k in range(4)]
    write(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    uri = s3_bucket.upload(tmp_path, "corpus")
    found = read(source(uri, storage=s3_bucket.storage, image_folder=f"{s3_bucket.uri}/images"))
    images = [row["images"][0] for row in found]
    assert images[0] == images[1] != images[2] == images[3]
    assert load_image(images[2]).getpixel((2, 2)) == (1, 0, 0)


def make_config(tmp_path, train, test, **fields) -> PipelineConfig:
    return PipelineConfig(
        name="test",
        output_dir=str(tmp_path / "out"),
        base_model={"kind": "checkpoint", "path": "none"},
        corpora=train,
        training={},
        evaluation=EvaluationConfig(
            benchmarks=[BenchmarkConfig(**corpus, domain="in_domain") for corpus in test], methods=["original"]
        ),
        **fields,
    )


def run_corpora(tmp_path, config):
    """Contexts of the three stages that read corpora, each after it was run as the pipeline does."""

    def run(stage, **inputs):
        folder = tmp_path / "stages" / stage
        folder.mkdir(parents=True)
        context = stage_context(folder, config, stage, **{name: source.folder for name, source in inputs.items()})
        context.counts.update(build_stages(config)[stage].function(context))
        context.close()
        return context

    benchmarks = run("benchmarks")
    questions = run("questions", **({"benchmarks": benchmarks} if config.leakage.on_leak == "drop" else {}))
    return benchmarks, questions, run("leakage", questions=questions, benchmarks=benchmarks)


@pytest.fixture
def leaking(tmp_path):
    """Training on VQAv2 and own data; one picture each is in A-OKVQA (by number) and in own test data (by content)."""
    write_vqav2(tmp_path / "vqa", 4)
    aokvqa = {"question_id": "a", "image_id": 2, "question": "What?", "choices": ["x", "y"], "correct_choice_idx": 0}
    write(tmp_path / "okvqa" / "aokvqa_v1p0_val.json", [aokvqa])
    write(tmp_path / "okvqa" / "val2017" / "000000000002.jpg", png(200))  # other bytes, the same number
    write(tmp_path / "own" / "train.jsonl", [own_row(1, "a.png"), own_row(2, "b.png"), own_row(3, "c.png")])
    write(tmp_path / "own" / "test.jsonl", [own_row(1, "d.png", question=" what  IS 1?"), own_row(2, "e.png")])
    for name, colour in {"a": 101, "b": 102, "c": 103, "d": 101, "e": 102}.items():
        write(tmp_path / "own" / f"{name}.png", png(colour))
    write(tmp_path / "own" / "test.jsonl", [own_row(1, "d.png", question=" what  IS 1?"), own_row(9, "e.png")])
    train = [
        {"dataset": "vqav2", "split": "train2014", "root": str(tmp_path / "vqa")},
        {"dataset": "own", "split": "train", "root": str(tmp_path / "own")},
    ]
    test = [
        {"dataset": "aokvqa", "split": "val", "root": str(tmp_path / "okvqa")},
        {"dataset": "own", "split": "test", "root": str(tmp_path / "own")},
    ]
    return train, test


def test_leakage_stops_the_pipeline(tmp_path, leaking):
    with pytest.raises(LeakageError) as caught:
        run_corpora(tmp_path, make_config(tmp_path, *leaking))
    message = str(caught.value)
    assert "1 training questions of vqav2:train2014 share" in message
    assert "2 training questions of own:train share an image or the question with the evaluation, 1 of them" in message
    for part in ("vqav2:train2014:2000 has the image of aokvqa:val:a (coco:2)", "leakage.on_leak", "own:test:9"):
        assert part in message


@pytest.mark.parametrize(
    ("on_leak", "num_train", "rejected"),
    [("drop", 3, {"missing_image": 1, "in_evaluation": 3}), ("allow", 6, {"missing_image": 1})],
)
def test_leakage_can_be_dropped_or_allowed(tmp_path, leaking, on_leak, num_train, rejected):
    config = make_config(tmp_path, *leaking, leakage=LeakageConfig(on_leak=on_leak))
    benchmarks, questions, leakage = run_corpora(tmp_path, config)
    assert benchmarks.counts | questions.counts == {"train": num_train, "test": 3}
    assert leakage.counts == {"train_in_evaluation": 0 if on_leak == "drop" else 3}
    assert questions.rejected == rejected
    train = pq.read_table(questions.folder / "train.parquet")
    assert train.schema == QUESTION and train.num_rows == num_train
    assert pq.read_table(questions.folder / "rejected.parquet").num_rows == sum(rejected.values())
    benchmarks = pq.read_table(benchmarks.folder / "benchmarks.parquet").to_pylist()
    assert [(row["benchmark"], row["domain"]) for row in benchmarks] == [("aokvqa", "in_domain")] + [
        ("own", "in_domain")
    ] * 2


def test_a_subset_is_counted_in_the_stage(tmp_path):
    write(tmp_path / "a.png", png())
    write(tmp_path / "train.jsonl", [own_row(k, "gone.png" if k == 3 else "a.png") for k in range(50)])
    write(tmp_path / "test.jsonl", [own_row(1, "a.png")])
    train, test = ({"dataset": "own", "split": split, "root": str(tmp_path)} for split in ("train", "test"))
    config = make_config(tmp_path, [train | {"sample": 20}], [test], leakage=LeakageConfig(on_leak="allow"))
    _, questions, _ = run_corpora(tmp_path, config)
    assert questions.counts == {"train": 20, "own:train_not_drawn": 29} and questions.rejected == {"missing_image": 1}
    ids = pq.read_table(questions.folder / "train.parquet")["id"].to_pylist()
    again = [row["id"] for row in read(source(tmp_path, sample=20)) if row["reason"] is None]
    assert ids == again
    check_corpora(config, None)


def test_without_contents_only_coco_numbers_are_compared(tmp_path, leaking):
    leakage = LeakageConfig(on_leak="allow", compare_content=False)
    *_, compared = run_corpora(tmp_path, make_config(tmp_path, *leaking, leakage=leakage))
    assert compared.counts == {"train_in_evaluation": 1}


def test_the_check_reports_what_the_pipeline_would_meet(tmp_path, leaking, capsys):
    train, test = leaking
    broken = {"dataset": "gqa", "split": "val_balanced", "root": str(tmp_path / "nowhere")}
    config = make_config(tmp_path, train, [*test, broken])
    with pytest.raises(
        InbolError, match=r"gqa:val_balanced cannot be read; 3 training questions are in the evaluation"
    ):
        check_corpora(config, None)
    printed = " ".join(capsys.readouterr().out.split())
    for part in (
        "benchmark aokvqa:val",
        "training vqav2:train2014",
        "questions 3 (vqa10 3) (not stated 3)",
        "missing images 1",
        "(missing_image 1)",
        "for example: ",
        "found no val_balanced_questions.json",
        "| USER: <image>",
        "| What is 1?",
        "expected: it",
        "own:train:1 has the image and question of own:test:1",
    ):
        assert part in printed, printed
    report = json.loads((tmp_path / "out" / "corpus_check.json").read_text())
    assert [corpus["num_questions"] for corpus in report["corpora"]] == [1, 2, 0, 3, 3]
    assert report["leakage"]["num_questions"] == {"vqav2:train2014": 1, "own:train": 2}
    assert not (tmp_path / "out" / "check-images").exists()


def test_the_check_is_quiet_about_clean_data(tmp_path, leaking, capsys):
    check_corpora(make_config(tmp_path, leaking[0][1:], leaking[1][:1]), None)
    assert "none found" in capsys.readouterr().out


def test_the_check_accepts_every_benchmark_of_refusal(tmp_path, capsys):
    # Of MM-UPD's nine one kind in its three settings: the others are read alike.
    wanted = [name for name in REFUSAL_SPLITS if not name.startswith(("mmiasd_", "mmivqd_"))]
    benchmarks = [one for one in write_benchmarks(tmp_path) if one["dataset"] in wanted]
    for one in benchmarks:
        del one["domain"]
    check_corpora(make_config(tmp_path, [], benchmarks), None)
    report = json.loads((tmp_path / "out" / "corpus_check.json").read_text())
    assert [corpus["dataset"] for corpus in report["corpora"]] == [one["dataset"] for one in benchmarks]
    for corpus in report["corpora"]:
        assert corpus["num_questions"] and corpus["answerable"]["unanswerable"] and not corpus["problem"], corpus
