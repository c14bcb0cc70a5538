"""Run the whole pipeline once a seed and compare the methods over seeds, with paired differences."""

from inbol_ray.config.load import parse_job_args


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.errors import ConfigError
    from inbol_ray.evaluation.seeds import summarise_seeds
    from inbol_ray.report.publish import publish
    from inbol_ray.report.report import write_seeds_report
    from inbol_ray.run import run_stages
    from inbol_ray.runtime.job import run_job
    from inbol_ray.store.local_copies import written_to

    def run() -> None:
        if not config.seeds:
            raise ConfigError("seeds: no seed to run; add --config jobs/configs/seeds.yaml or --seeds '[1, 2, 3, 4]'")
        results = []
        for seed in config.seeds:
            print(f"\nseed {seed}", flush=True)
            run_config = config.model_copy(
                update={"seed": seed, "output_dir": f"{config.output_dir.rstrip('/')}/seed-{seed}"}
            )
            results.append(publish(run_config, run_stages(run_config)))
        with written_to(config.output_dir, config.storage) as out_dir:
            write_seeds_report(summarise_seeds(results), out_dir)

    run_job(run)


if __name__ == "__main__":
    main()
