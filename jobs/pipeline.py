"""Run the whole pipeline: data, training, evaluation and report. Finished stages are not computed again."""

from inbol_ray.config.load import parse_job_args


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.report.publish import publish
    from inbol_ray.run import run_stages
    from inbol_ray.runtime.job import run_job

    run_job(lambda: publish(config, run_stages(config)))


if __name__ == "__main__":
    main()
