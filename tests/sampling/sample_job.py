"""A sampling job to be killed: MODEL IMAGE FOLDER NUM_QUESTIONS [--option ...] -> FOLDER/replies.parquet.

Every 50th question has a bad image, every 50th after the 25th too long a prompt. `--address` joins a running cluster;
`--poison` names a question on which the engine dies, every time.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUM_SAMPLES = 10


class Poison:
    """Rounds that kill the engine's thread at one question, and keep a tally of the deaths."""

    def __init__(self, question: str, tally: Path) -> None:
        self.question, self.tally = question, tally

    def __repr__(self) -> str:
        return f"Poison({self.question})"

    def num_more(self, row, reply) -> int:
        if row["id"] == self.question:
            with open(self.tally, "a") as file:
                file.write("x")
            raise RuntimeError("the engine choked")
        return NUM_SAMPLES - len(reply.texts)


def requests(model: str, image: str, count: int) -> pa.Table:
    from inbol_ray.prompts import chat_prompt

    ids = [f"q:{number:05d}" for number in range(count)]
    return pa.table(
        {
            "id": ids,
            "checkpoint": [model] * count,
            "prompt": [chat_prompt("word " * (999 if n % 50 == 25 else 1) + name) for n, name in enumerate(ids)],
            "images": [[__file__ if n % 50 == 0 else image] for n in range(count)],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("model", "image", "folder"):
        parser.add_argument(name)
    parser.add_argument("count", type=int)
    parser.add_argument("--poison")
    args, options = parser.parse_known_args()
    from inbol_ray.config.load import load_config
    from inbol_ray.pipeline import run_job, started_ray

    config = load_config(["--config", "jobs/configs/demo.yaml", "--engine.batch_size", "16", *options])

    def work() -> None:
        from inbol_ray.sampling.generate import generate
        from inbol_ray.sampling.vllm_engine import Decoding

        table = requests(args.model, args.image, args.count)
        rounds = Poison(args.poison, Path(args.folder) / "deaths") if args.poison else None
        decoding = Decoding(NUM_SAMPLES, 1.0, 8, 0)
        folder = f"{args.folder}/parts"
        parts = generate(table, config, decoding, folder=folder, unit="questions", rounds=rounds)
        partial = Path(args.folder) / "replies.partial"
        pq.write_table(pa.concat_tables(parts.read()), partial)
        partial.rename(Path(args.folder) / "replies.parquet")

    with started_ray(config):
        run_job(work)


if __name__ == "__main__":
    main()
