"""Judge and score replies that came from elsewhere, in seconds: no Ray, no engine, no GPU.

usage: python jobs/score.py --replies FILE [FILE ...] [--benchmark DATASET:SPLIT[:DOMAIN]=ROOT ...] [options]
       python jobs/score.py --replies FILE [FILE ...] --config FILE [--section.field VALUE ...] [options]

--replies            .jsonl or .parquet; inbol_ray/evaluation/reply_file.py has the format
--benchmark          where the questions are that rows name by id, such as vqav2:val2014:in_domain=/data/vqav2; DOMAIN is
                     out_of_domain unless given. A configuration has its own benchmarks, and rules of scoring.
--missing leave_out  leave out questions without a reply, instead of counting them as errors
--output_dir         where the report goes: build/scored, or `scored` in the folder of the configuration's run

Rows that cannot be used are told, and written to rejected.parquet.
"""

import sys
from typing import get_args

from inbol_ray.config.corpora import BenchmarkConfig, Domain
from inbol_ray.config.load import parse_job_args
from inbol_ray.corpora.registry import check_readers
from inbol_ray.errors import ConfigError

OWN_OPTIONS = ("--replies", "--benchmark", "--missing", "--output_dir")
MISSING = ("error", "leave_out")


def main() -> None:
    own, rest = _split(sys.argv[1:])
    config = parse_job_args(__doc__, rest) if rest else None
    try:
        if not own["--replies"]:
            raise ConfigError("--replies: no file; give --replies FILE, see --help")
        if config and own["--benchmark"]:
            raise ConfigError("--benchmark: a configuration has its own benchmarks; leave out this option or --config")
        benchmarks = [_benchmark(text) for text in own["--benchmark"]]
        check_readers(benchmarks, "--benchmark")
        missing = (own["--missing"] or ["error"])[-1]
        if missing not in MISSING:
            raise ConfigError(f"--missing: found {missing!r}, expected {' or '.join(MISSING)}")
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    default = f"{config.output_dir.rstrip('/')}/scored" if config else "build/scored"
    output_dir = (own["--output_dir"] or [default])[-1]
    from inbol_ray.report.score_file import score_replies
    from inbol_ray.runtime.job import run_job

    def run() -> None:
        scored = score_replies(
            own["--replies"], benchmarks=benchmarks, config=config, output_dir=output_dir, missing=missing
        )
        print(scored)
        print(f"\nReport: {output_dir}/report.html   Figures: {output_dir}/results.json, {output_dir}/benchmarks.json")

    run_job(run)


def _split(argv: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """This job's options with their values, each as often as it is given, and what is left for the configuration."""
    own: dict[str, list[str]] = {name: [] for name in OWN_OPTIONS}
    rest: list[str] = []
    values = rest
    for argument in argv:
        name, equals, value = argument.partition("=")
        if argument.startswith("-"):
            values = own.get(name, rest)
            argument = value if equals and values is not rest else argument
            if values is not rest and not equals:
                continue
        values.append(argument)
    return own, rest


def _benchmark(text: str) -> BenchmarkConfig:
    """`DATASET:SPLIT[:DOMAIN]=ROOT`. Raises ConfigError."""
    name, equals, root = text.partition("=")
    parts = name.split(":")
    if not equals or not root or len(parts) not in (2, 3):
        raise ConfigError(
            f"--benchmark: found {text!r}, expected DATASET:SPLIT=ROOT, such as gqa:testdev_balanced=/data/gqa"
        )
    domain = parts[2] if len(parts) == 3 else "out_of_domain"
    if domain not in get_args(Domain):
        raise ConfigError(f"--benchmark: found the domain {domain!r}, expected {' or '.join(get_args(Domain))}")
    try:
        return BenchmarkConfig(dataset=parts[0], split=parts[1], root=root, domain=domain)
    except ValueError as error:
        problems = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise ConfigError(f"--benchmark: {text!r}: {problems}") from None


if __name__ == "__main__":
    main()
