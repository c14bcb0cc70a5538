"""Check every corpus of a configuration: what it holds, what is rejected and why, and what leaks into the evaluation.

usage: python jobs/corpus.py check --config FILE [options]

Run it first on your own data (format: inbol_ray/corpora/own.py). Nothing is trained; the report is printed and lands in
`{output_dir}/corpus_check.json`. The exit status is 1 if the pipeline would fail on this data.
"""

import sys

from inbol_ray.config.load import parse_job_args


def main() -> None:
    options = sys.argv[1:]
    config = parse_job_args(__doc__, options[1:] if options[:1] == ["check"] else options)
    from inbol_ray.corpora.check import check_corpora
    from inbol_ray.pipeline import build_stages
    from inbol_ray.run import run_stages
    from inbol_ray.runtime.job import run_job
    from inbol_ray.runtime.ray_session import started_ray
    from inbol_ray.store.artifacts import open_store

    def check() -> None:
        toyworld = build_stages(config).get("toyworld")  # before Ray: it says what is wrong with the configuration
        with started_ray(config):
            if config.toyworld is not None:
                run_stages(config, ["toyworld"])
            check_corpora(config, open_store(config).uri(toyworld) if toyworld else None)

    run_job(check)


if __name__ == "__main__":
    main()
