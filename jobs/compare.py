"""Compare two methods on the questions that both were asked: paired differences, corrected for how many are looked at.

usage: python jobs/compare.py A B [--output_dir DIR]

A and B are output folders of runs or predictions.parquet files, local or s3://, each with `:METHOD` where it has
several:

    python jobs/compare.py build/demo:ca_dpo build/demo:idk_it
    python jobs/compare.py build/scored/predictions.parquet:gpt build/demo:ca_dpo

comparison.md and comparison.json go to DIR, by default build/compared. No Ray, no engine, no GPU.
"""

import sys

from inbol_ray.errors import ConfigError


def main() -> None:
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(__doc__.strip())
        return
    try:
        sides, output_dir = _read_options(sys.argv[1:])
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    from inbol_ray.evaluation.compare import compare_predictions
    from inbol_ray.evaluation.prediction_files import read_side
    from inbol_ray.report.comparison import MARKDOWN_FILE, render_comparison, write_comparison
    from inbol_ray.runtime.job import run_job
    from inbol_ray.store.local_copies import job_storage, written_to

    def run() -> None:
        storage = job_storage()
        comparison = compare_predictions(*(read_side(side, storage) for side in sides), names=sides)
        print(render_comparison(comparison))
        with written_to(output_dir, storage) as folder:
            write_comparison(comparison, folder)
        print(f"Written: {output_dir}/{MARKDOWN_FILE}")

    run_job(run)


def _read_options(argv: list[str]) -> tuple[tuple[str, str], str]:
    """(A and B, folder for the result). Raises ConfigError."""
    words, output_dir, waiting = [], "build/compared", list(argv)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.partition("=")
        if name == "--output_dir":
            if not equals and not waiting:
                raise ConfigError("--output_dir needs a value: --output_dir DIR")
            output_dir = value if equals else waiting.pop(0)
        elif argument.startswith("-"):
            raise ConfigError(f"{argument}: unknown option; expected A B [--output_dir DIR], see --help")
        else:
            words.append(argument)
    if len(words) != 2:
        raise ConfigError(f"found {len(words)} sides ({' '.join(words) or 'none'}), expected two: A B, see --help")
    return (words[0], words[1]), output_dir


if __name__ == "__main__":
    main()
