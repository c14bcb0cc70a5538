"""Fit thresholds for target risks on validation questions, with a finite-sample guarantee; the server loads them.

Stages it reads are computed first where they are missing; finished ones are never computed again.
"""

from inbol_ray.config.load import parse_job_args


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.errors import ConfigError
    from inbol_ray.run import run_stages
    from inbol_ray.runtime.job import run_job

    def run() -> None:
        if config.calibration is None:
            raise ConfigError("calibration: missing; add the section, see jobs/configs/demo.yaml")
        run_stages(config, ["calibrate"])

    run_job(run)


if __name__ == "__main__":
    main()
