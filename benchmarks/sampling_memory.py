"""The confidence stage on a corpus that grows tenfold: memory of every process -> build/bench/sampling_memory.json.

Each size runs in a process of its own, through real engines: an untrained tiny LLaVA draws two samples of one token, so
that the corpus and not the model takes the time. Printed are the peaks of the driver, of a renderer, of an engine and of
what lies in the object store. The smaller size already fills every buffer there is.
"""

import argparse
import json
import shutil
from pathlib import Path

from own_process import in_own_process
from sampling import build_model

SIZES = (6_000, 60_000)
NUM_IMAGES = 200
OPTIONS = ("--engine.num_engines", "1", "--sampling.num_samples", "2", "--sampling.max_tokens", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--work", type=Path, default=Path("build/bench/sampling"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    build_model(args.work)
    results = []
    for size in args.sizes:
        results.append({"questions": size} | in_own_process(run_stage, args.work.resolve(), size))
        print(json.dumps(results[-1]), flush=True)
    (args.work.parent / "sampling_memory.json").write_text(json.dumps(results, indent=1))


def run_stage(work: Path, size: int) -> dict[str, int]:
    """Peaks in MiB while the confidence stage samples and judges `size` questions."""
    from peak_memory import PeakMemory, anonymous_mib

    from inbol_ray.confidence.estimate import estimate_confidence
    from inbol_ray.config.load import load_config
    from inbol_ray.pipeline import build_stages
    from inbol_ray.runtime.ray_session import started_ray
    from inbol_ray.runtime.stage import StageContext

    config = load_config(["--config", "jobs/configs/demo.yaml", "--evaluation.sample_confidence", "false", *OPTIONS])
    folder = work / "memory"
    shutil.rmtree(folder, ignore_errors=True)
    inputs = write_inputs(folder, work / "model", size)
    context = StageContext(
        folder=folder,
        uri=str(folder),
        input_uris={key: str(path) for key, path in inputs.items()},
        settings=build_stages(config)["confidence"].settings,
        progress="memory",
        resume=str(folder / "resume"),
        replies=str(folder / "replies"),
    )
    workers = {"renderer": "(RenderBlock)", "engine": "(AnswerBlock)"}
    with started_ray(config):
        before = anonymous_mib("self")
        with PeakMemory(workers, object_store=True) as memory:
            counts = estimate_confidence(context)
    assert counts["questions"] == size
    return {"driver_before": before} | memory.mib


def write_inputs(folder: Path, model: Path, size: int) -> dict[str, Path]:
    """The stage's inputs: `size` questions about a few images, in no order of their ids."""
    import numpy as np

    from inbol_ray.rows import QUESTION, Question
    from inbol_ray.store.row_writer import write_rows
    from inbol_ray.toyworld.scenes import SceneStyle, draw_scene, encode_png, render_scene

    inputs = {name: folder / name for name in ("questions", "unanswerable", "checkpoint")}
    for path in inputs.values():
        path.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = [folder / f"{number}.png" for number in range(NUM_IMAGES)]
    for path in images:
        path.write_bytes(encode_png(render_scene(draw_scene(rng, SceneStyle()))))
    rows = (
        Question(
            f"vqav2:train:{number}",
            "vqav2",
            "train",
            [str(images[number % NUM_IMAGES])],
            "What is it?",
            "open",
            ["red"],
        )
        for number in rng.permutation(size)
    )
    write_rows(inputs["questions"] / "train.parquet", (row.to_row() for row in rows), QUESTION)
    write_rows(inputs["unanswerable"] / "questions.parquet", [], QUESTION)
    (inputs["checkpoint"] / "model").symlink_to(model)
    return inputs


if __name__ == "__main__":
    main()
