"""Answer every configured benchmark with every model, judge the replies, and print the paper's tables (section 4).

Models are the run's own methods and those of `evaluation.models`: checkpoints, endpoints and files of replies;
`evaluation.pairs` picks some pairs. What they need is computed first where it is missing, and no question that has a
reply is asked again.
"""

from inbol_ray.config.load import parse_job_args


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.report.publish import publish_benchmarks
    from inbol_ray.run import run_stages
    from inbol_ray.runtime.job import run_job

    def run() -> None:
        run_stages(config, ["judge" if config.scoring.judge else "evaluate"])
        publish_benchmarks(config)

    run_job(run)


if __name__ == "__main__":
    main()
