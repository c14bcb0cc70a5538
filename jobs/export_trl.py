"""Export preference and IDK data in TRL's conversational format, to `{output_dir}/trl`.

Pairs are weighted as the configuration's CA-DPO training has it (`mixed_pairs`). Where its trainings differ in that,
each way goes to a folder of its own, `{output_dir}/trl-{mixed_pairs}`.

Stages it reads are computed first where they are missing; finished ones are never computed again.
"""

from inbol_ray.config.load import parse_job_args


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.pipeline import build_stages
    from inbol_ray.run import run_stages
    from inbol_ray.runtime.job import run_job
    from inbol_ray.runtime.ray_session import started_ray
    from inbol_ray.store.artifacts import open_store

    ways = sorted({method.mixed_pairs for method in config.training.values() if method.kind == "ca_dpo"})
    ways = ways or ["confidence"]
    root = f"{config.output_dir.rstrip('/')}/trl"

    def run() -> None:
        stages = build_stages(config)  # before Ray: they say what is wrong with the configuration
        with started_ray(config):
            from inbol_ray.datagen.trl_export import export_trl

            run_stages(config, ["data"])
            data = open_store(config).folder(stages["data"])
            for way in ways:
                uri = root if len(ways) == 1 else f"{root}-{way}"
                counts = export_trl(data, uri, config.storage, config.prompts.system, way)
                print(f"{uri}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))

    run_job(run)


if __name__ == "__main__":
    main()
