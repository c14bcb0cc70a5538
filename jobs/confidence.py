"""Sample N answers a question from the original model and judge them (paper section 2).

Stages it reads are computed first where they are missing; finished ones are never computed again.
"""

from inbol_ray.config.load import parse_job_args


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.run import run_stages
    from inbol_ray.runtime.job import run_job

    run_job(lambda: run_stages(config, ["confidence"]))


if __name__ == "__main__":
    main()
