"""The cases: for each stage a function that computes it on small fixed input, and gives its output in named parts.

A stage's whole function runs wherever Ray and vLLM can be taken out from under it (`scripted`).
"""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from benchmark_files import write_benchmarks
from golden import fixed_input, scripted
from golden.fixed_input import REPLIES, number_of, pixels, read_tables
from golden.training_case import train_on_fixed_rows
from PIL import Image
from stage_context import stage_context

from inbol_ray.config.load import load_config
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.errors import LeakageError
from inbol_ray.pipeline import build_stages
from inbol_ray.runtime.stage import StageContext

DEMO = "jobs/configs/demo.yaml"
Output = dict[str, Any]
Patch = Any
"""pytest's monkeypatch."""


@dataclass(frozen=True)
class Case:
    """`stage` is of the demo with these options (`{folder}` in them is the case's own). `input` is raised when what the
    case feeds in changes, which is then no change of the stage."""

    stage: str
    run: Callable[[PipelineConfig, Path, Patch], Output]
    options: tuple[str, ...] = ()
    input: int = 1
    covers: tuple[str, ...] = ()
    """Other stages of the demo that compute the same with other settings."""

    def config(self, folder: Path) -> PipelineConfig:
        options = (f"--output_dir={folder}/run", *self.options)
        return load_config(["--config", DEMO, *(option.replace("{folder}", str(folder)) for option in options)])


def run_stage(config: PipelineConfig, name: str, folder: Path, **inputs: Path) -> tuple[StageContext, dict[str, int]]:
    """The stage's whole function; returns the context whose folder it wrote, and its counts."""
    context = stage_context(folder / name, config, name, **inputs)
    context.folder.mkdir(parents=True, exist_ok=True)
    counts = build_stages(config)[name].function(context)
    context.close()
    return context, {**context.counts, **counts}


def with_input(folder: Path) -> dict[str, Path]:
    """The artifact that every stage here reads, under any name: fixed rows and a model."""
    artifact = folder / "artifact"
    if not artifact.exists():
        fixed_input.write_questions(artifact)
        fixed_input.write_model(artifact / "model")
    names = ("questions", "unanswerable", "benchmarks", "confidence", "test_confidence", "evaluate", "checkpoint")
    return dict.fromkeys(names, artifact)


def rejected(context: StageContext) -> list[dict]:
    path = context.folder / "rejected.parquet"
    return pq.read_table(path).to_pylist() if path.exists() else []


def replies_of(row: dict) -> list[str]:
    return REPLIES[number_of(row["id"])]


def toyworld(config, folder, patch) -> Output:
    context, counts = run_stage(config, "toyworld", folder)
    files: dict[str, Any] = {}
    for path in sorted(context.folder.rglob("*.*")):
        name = str(path.relative_to(context.folder))
        files[name] = path.read_text() if path.suffix in (".json", ".jsonl") else pixels(path)
    texts = {name: content for name, content in files.items() if isinstance(content, str)}
    return {"counts": counts, "texts": texts, "pictures": {name: files[name] for name in files.keys() - texts}}


def instruct(config, folder, patch) -> Output:
    scripted.tasks_right_here(patch, "inbol_ray.toyworld.stages._write_shard")
    patch.setattr("inbol_ray.toyworld.stages.SHARD_ROWS", 4)
    context, counts = run_stage(config, "instruct", folder)
    rows = {"conversations": [], "captions": []}
    for name, found in rows.items():
        for path in sorted(context.folder.glob(f"{name}-*.parquet")):
            for row in pq.read_table(path).to_pylist():
                (image,) = row.pop("images")  # at an offset that depends on how PNG compresses
                file, _, place = image.partition("#")
                start, size = map(int, place.split(":"))
                data = Path(file).read_bytes()[start : start + size]
                found.append(row | {"pixels": pixels(io.BytesIO(data))})
    return {"counts": counts} | rows


def vision(config, folder, patch) -> Output:
    import torch
    from safetensors.torch import load_file

    from inbol_ray.toyworld import base_model

    losses = []

    def pretrain_and_note(*given):
        for metrics in pretrain(*given):
            losses.append({name: round(value, 2) for name, value in metrics.items()})
            yield metrics

    pretrain = base_model.pretrain_vision
    threads = torch.get_num_threads()
    patch.setattr(base_model, "pretrain_vision", pretrain_and_note)
    patch.setattr("inbol_ray.toyworld.stages.ray", SimpleNamespace(data=SimpleNamespace(range=scripted.Rows)))
    context, counts = run_stage(config, "vision", folder)
    torch.set_num_threads(threads)
    model = context.folder / "model"
    tokenizer, config_file, processor = (
        json.loads((model / f"{name}.json").read_text()) for name in ("tokenizer", "config", "processor_config")
    )
    weights = load_file(model / "model.safetensors")
    return {
        "counts": counts,
        "losses": losses,
        # Two digits: the start is drawn by torch, whose kernels differ in the last bits.
        "weights": {
            name: [list(one.shape), float(f"{one.double().abs().mean():.2g}")] for name, one in weights.items()
        },
        "vocabulary": tokenizer["model"]["vocab"],
        # Not whole: what transformers writes beside them differs between its versions.
        "config": {name: config_file[name] for name in MODEL_FIELDS},
        "processor": {name: processor["image_processor"][name] for name in PIXEL_FIELDS},
    }


MODEL_FIELDS = ("image_seq_length", "image_token_index", "vision_feature_layer", "vision_feature_select_strategy")
PIXEL_FIELDS = ("crop_size", "do_pad", "image_mean", "image_std", "size")


def bitmap(colour: int = 0) -> bytes:
    """A picture for the benchmarks' files, the same bytes with every version of every library."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (colour, 0, 0)).save(buffer, "BMP")
    return buffer.getvalue()


def with_every_benchmark(config: PipelineConfig, folder: Path, patch: Patch) -> PipelineConfig:
    """The same with a small copy of every benchmark, as corpora too."""
    for module in ("benchmark_files", "refusal_benchmark_files"):
        patch.setattr(f"{module}.png", bitmap)
    scripted.read_right_here(patch, "inbol_ray.corpora.stage")
    scripted.add_keys_right_here(patch)
    values = config.model_dump(by_alias=True)
    benchmarks = write_benchmarks(folder / "corpora")
    values["evaluation"]["benchmarks"] = benchmarks
    values["corpora"] = [
        {name: value for name, value in one.items() if name != "domain"} | {"sample": 1 if number % 2 else None}
        for number, one in enumerate(benchmarks)
    ]
    return PipelineConfig.model_validate(values)


def by_benchmark(rows: list[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["dataset"], []).append(row)
    return found


def benchmarks(config, folder, patch) -> Output:
    context, counts = run_stage(with_every_benchmark(config, folder, patch), "benchmarks", folder)
    tables = read_tables(context.folder, "benchmarks", "keys")
    return {"counts": counts, "keys": tables["keys"], "rejected": rejected(context)} | by_benchmark(
        tables["benchmarks"]
    )


def questions(config, folder, patch) -> Output:
    """A subset of half of the corpora; what the benchmarks have too is dropped, and here that is every question that has
    an image."""
    config = with_every_benchmark(config, folder, patch)
    context, _ = run_stage(config, "benchmarks", folder)
    kept, counts = run_stage(config, "questions", folder)
    dropping = config.model_copy(update={"leakage": config.leakage.model_copy(update={"on_leak": "drop"})})
    less, num_less = run_stage(dropping, "questions", folder / "drop", benchmarks=context.folder)
    return {
        "counts": [counts, num_less],
        **read_tables(kept.folder, "train", "keys"),
        "rejected": [rejected(kept), rejected(less)],
    }


def leakage(config, folder, patch) -> Output:
    config = with_every_benchmark(config, folder, patch)
    given = {name: run_stage(config, name, folder)[0].folder for name in ("benchmarks", "questions")}
    said = []
    for on_leak in ("allow", "error"):
        asked = config.model_copy(update={"leakage": config.leakage.model_copy(update={"on_leak": on_leak})})
        try:
            said.append(run_stage(asked, "leakage", folder, **given)[1])
        except LeakageError as error:
            said.append(str(error))
    return {"said": said}


def unanswerable(config, folder, patch) -> Output:
    def first_token(row: dict) -> dict:
        chance = 0.41 + 0.02 * number_of(row["id"])  # on both sides of the filter's threshold
        return {" yes": math.log(chance), "No": math.log(1 - chance), " it": -3.0}

    written = ["Who painted it?", "What is behind it?", "It is red."]
    engine = scripted.Engine(lambda row: [written[number_of(row["id"]) % 3]], first_token)
    patch.setattr("inbol_ray.unanswerable.build.generate", engine)
    context, counts = run_stage(config, "unanswerable", folder, **with_input(folder))
    tables = read_tables(context.folder, "candidates", "questions")
    return {"counts": counts, "asked": engine.asked, "rejected": rejected(context)} | tables


def _confidence(config, folder, patch, name: str) -> Output:
    engine = scripted.Engine(replies_of)
    patch.setattr("inbol_ray.confidence.estimate.generate", engine)
    patch.setattr("inbol_ray.confidence.judging.Judge.judge_parts", scripted.judge_right_here)
    context, counts = run_stage(config, name, folder, **with_input(folder))
    answers = read_tables(context.folder, "answers")
    return {"counts": counts, "asked": engine.asked, "rejected": rejected(context)} | answers


def confidence(config, folder, patch) -> Output:
    """All samples of each question, and adaptively as few as decide its class."""
    adaptive = {"num_samples": 8, "adaptive": {}}
    sampling = config.sampling.model_validate(config.sampling.model_dump() | adaptive)
    fewer = _confidence(config.model_copy(update={"sampling": sampling}), folder / "adaptive", patch, "confidence")
    drawn = [(row["id"], len(row["responses"])) for row in fewer["answers"]]
    return _confidence(config, folder, patch, "confidence") | {"adaptive": drawn}


def test_confidence(config, folder, patch) -> Output:
    return _confidence(config, folder, patch, "test_confidence")


def data(config, folder, patch) -> Output:
    given = with_input(folder)
    context, counts = run_stage(config, "data", folder, **given)
    balance = config.balance.model_validate({"classes": {"known": 0.4, "mixed": 0.3, "unknown": 0.3}})
    balanced = config.model_copy(update={"balance": balance})
    cut, cut_counts = run_stage(balanced, "data", folder / "balanced", **given)
    return {
        "counts": counts,
        **read_tables(context.folder, "sft", "idk", "preferences"),
        "balanced": [cut_counts, [row["id"] for row in read_tables(cut.folder, "sft")["sft"]]],
    }


def evaluate(config, folder, patch) -> Output:
    def texts(row: dict) -> list[str]:
        place = 3 if config.prompts.refusal_instruction in row["prompt"] else len(Path(row["checkpoint"]).parent.name)
        return [replies_of(row)[place % 4]]

    engine = scripted.Engine(texts)
    patch.setattr("inbol_ray.evaluation.replies.generate", engine)
    given = with_input(folder)
    for name in ("original", "sft", "ca_dpo"):
        fixed_input.write_model(folder / name / "model")
        given[name] = folder / name
    context, counts = run_stage(config, "evaluate", folder, **given)
    return {"counts": counts, "asked": engine.asked} | read_tables(context.folder, "predictions")


def judge(config, folder, patch) -> Output:
    """Not of the demo: a stage where `scoring.judge` is set."""
    fixed_input.write_model(folder / "judge-model")
    said = ["yes", "No.", "refused", "correct", "I am not sure"]
    engine = scripted.Engine(lambda row: [said[len(row["prompt"]) % 5]])
    patch.setattr("inbol_ray.evaluation.replies.generate", engine)
    context, counts = run_stage(config, "judge", folder, **with_input(folder))
    return {"counts": counts, "asked": engine.asked} | read_tables(context.folder, "verdicts")


def signals(config, folder, patch) -> Output:
    engine = scripted.Engine(replies_of)
    patch.setattr("inbol_ray.calibration.signals.generate", engine)
    rows = [row | {"reason": None, "detail": None, "num_not_drawn": None} for row in fixed_input.benchmark_rows()]
    table = pa.Table.from_pylist(rows)
    patch.setattr("inbol_ray.calibration.signals.read_corpora", lambda sources: [table] if sources else [])
    patch.setattr("inbol_ray.calibration.signals.stream_tables", lambda tables: tables)
    given = with_input(folder)
    for name in ("original", "ca_dpo"):
        fixed_input.write_model(folder / name / "model")
        given[name] = folder / name
    context, counts = run_stage(config, "signals", folder, **given)
    return {"counts": counts, "asked": engine.asked} | read_tables(context.folder, "signals")


def calibrate(config, folder, patch) -> Output:
    from inbol_ray.calibration.signals import SIGNAL

    fixed_input.write_table(folder / "signals" / "signals.parquet", fixed_input.signal_rows(), SIGNAL)
    context, counts = run_stage(config, "calibrate", folder, signals=folder / "signals")
    files = {path.stem: json.loads(path.read_text()) for path in context.folder.glob("*.json")}
    # They hold versions of the prompts and pictures, which belong to `signals`.
    del files["ca_dpo"]["conditions"]
    return {"counts": counts} | files


TOY_SIZES = (
    "--toyworld.num_train_questions=12",
    "--toyworld.num_validation_questions=8",
    "--toyworld.num_test_questions=8",
)
TRAININGS = ("align", "base", "sft", "idk_it", "idk_it_matched")
CASES = {
    case.stage: case
    for case in (
        Case("toyworld", toyworld, TOY_SIZES),
        Case("instruct", instruct, ("--toyworld.num_pretrain_images=10", "--toyworld.num_captioned_images=5")),
        Case("vision", vision, ("--base_model.vision_steps=2", "--base_model.vision_batch_size=4")),
        Case("benchmarks", benchmarks),
        Case("questions", questions),
        Case("leakage", leakage),
        Case(
            "unanswerable",
            unanswerable,
            ("--unanswerable.num_mismatch=8", "--unanswerable.num_generated=6", "--unanswerable.num_kept=5"),
        ),
        Case("confidence", confidence, ("--sampling.num_samples=4",)),
        Case("test_confidence", test_confidence, ("--sampling.num_samples=4",)),
        Case("data", data),
        Case("ca_dpo", train_on_fixed_rows, covers=TRAININGS),
        Case("evaluate", evaluate, ("--evaluation.methods=[original, refusal_prompt, sft, ca_dpo]",)),
        Case(
            "judge",
            judge,
            ("--evaluation.methods=[original, sft]", "--scoring.judge={checkpoint: {folder}/judge-model, for: both}"),
        ),
        Case("signals", signals, ("--evaluation.methods=[original, ca_dpo]", "--calibration.num_samples=3")),
        Case("calibrate", calibrate),
    )
}
"""By stage."""
