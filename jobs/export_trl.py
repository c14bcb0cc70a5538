"""Export preference and IDK data in TRL's conversational format, to `{output_dir}/trl`.

Stages it reads are computed first where they are missing; finished ones are never computed again.
"""

from inbol_ray.config.load import parse_job_args


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.artifacts import open_store
    from inbol_ray.local_copies import written_to
    from inbol_ray.pipeline import build_stages, run_job, run_stages, started_ray

    def run() -> None:
        with started_ray(config):
            from inbol_ray.datagen.trl_export import export_trl

            run_stages(config, ["data"])
            data = open_store(config).folder(build_stages(config)["data"])
            with written_to(f"{config.output_dir}/trl", config.storage) as out_dir:
                counts = export_trl(data, out_dir)
        print(f"{config.output_dir}/trl: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))

    run_job(run)


if __name__ == "__main__":
    main()
