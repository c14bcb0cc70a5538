"""A sampling job to be killed: MODEL IMAGE FOLDER NUM_QUESTIONS [--option ...] -> FOLDER/replies.parquet.

Every 50th question has a bad image, every 50th after the 25th too long a prompt. The last question of every 16 takes ten
rounds, so that many answers wait for it. `--poison` names a question on which the engine dies, every time. FOLDER/tally
has a line for each time that a question was answered.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUM_SAMPLES = 10


class Watched:
    """Rounds that note in `tally` every question that an engine has answered, and kill the engine's thread at one.

    Ten samples in two rounds or in ten, since further rounds are what could leave many questions half done.
    """

    def __init__(self, tally: Path, poison: str | None) -> None:
        self.tally, self.poison = tally, poison

    def __repr__(self) -> str:
        return f"Watched({self.poison})"

    def num_more(self, row, reply) -> int:
        if row["id"] == self.poison:
            self._note("died")
            raise RuntimeError("the engine choked")
        if len(reply.texts) < NUM_SAMPLES:
            return 1 if int(row["id"][2:]) % 16 == 15 else NUM_SAMPLES // 2
        self._note(row["id"])
        return 0

    def _note(self, line: str) -> None:
        with open(self.tally, "a") as file:  # short appends of several processes do not mix
            file.write(f"{line}\n")


def requests(model: str, image: str, count: int) -> pa.Table:
    from inbol_ray.models import DEFAULT_FAMILY

    ids = [f"q:{number:05d}" for number in range(count)]
    return pa.table(
        {
            "id": ids,
            "checkpoint": [model] * count,
            "prompt": [
                DEFAULT_FAMILY.chat.prompt("word " * (999 if n % 50 == 25 else 1) + name) for n, name in enumerate(ids)
            ],
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
    from inbol_ray.runtime.job import run_job
    from inbol_ray.runtime.ray_session import started_ray

    config = load_config(["--config", "jobs/configs/demo.yaml", "--engine.batch_size", "64", *options])

    def work() -> None:
        from inbol_ray.sampling.generate import generate
        from inbol_ray.sampling.vllm_engine import Decoding

        table = requests(args.model, args.image, args.count)
        rounds = Watched(Path(args.folder) / "tally", args.poison)
        decoding = Decoding(NUM_SAMPLES, 1.0, 8, 0)
        folder = f"{args.folder}/parts"
        parts = generate([table], [args.model], config, decoding, folder=folder, unit="questions", rounds=rounds)
        partial = Path(args.folder) / "replies.partial"
        pq.write_table(pa.concat_tables(parts.read()), partial)
        partial.rename(Path(args.folder) / "replies.parquet")

    with started_ray(config):
        run_job(work)


if __name__ == "__main__":
    main()
