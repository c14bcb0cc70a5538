"""Export preference and IDK data in TRL's conversational format, to `{output_dir}/trl`.

Stages it reads are computed first where they are missing; finished ones are never computed again.
"""

from inbol_ray.config.load import parse_job_args


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.pipeline import build_stages, run_job, run_stages
    from inbol_ray.runtime.ray_session import started_ray
    from inbol_ray.store.artifacts import open_store

    out_uri = f"{config.output_dir.rstrip('/')}/trl"

    def run() -> None:
        with started_ray(config):
            from inbol_ray.datagen.trl_export import export_trl

            run_stages(config, ["data"])
            data = open_store(config).folder(build_stages(config)["data"])
            counts = export_trl(data, out_uri, config.storage, config.prompts.system)
        print(f"{out_uri}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))

    run_job(run)


if __name__ == "__main__":
    main()
