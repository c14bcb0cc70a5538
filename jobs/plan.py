"""What a run will take before any money is spent: questions, samples, tokens, time, GPU-hours and bytes of each stage,
whether a GPU (`plan.gpu_memory_gb`) holds it, a what-if table over nodes, what keeps a stage from scaling, and sampling
simulated on 1 to 1,000 engines.

Rates come from the finished stages in the output folder that had the same base model; where there are none they follow
from the assumptions in the section `plan`. Starts no Ray and reads manifests only.
"""

from inbol_ray.config.load import parse_job_args
from inbol_ray.config.schema import PipelineConfig

ENGINES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def main() -> None:
    config = parse_job_args(__doc__)
    from inbol_ray.runtime.job import run_job

    run_job(lambda: _run(config))


def _run(config: PipelineConfig) -> None:
    from inbol_ray.pipeline import build_stages
    from inbol_ray.plan.estimate import find_rate, measured_manifests, plan_stage, scenario_of, warn, what_if
    from inbol_ray.plan.memory import footprints
    from inbol_ray.plan.page import render_memory, render_simulation, render_stages, render_what_if
    from inbol_ray.plan.placement import warn_placement
    from inbol_ray.plan.shapes import shape_of
    from inbol_ray.plan.simulation import best_rows_per_block, largest_useful, simulate
    from inbol_ray.plan.workload import build_work
    from inbol_ray.store.artifacts import open_store

    stages, store = build_stages(config), open_store(config)
    finished = {name: manifest for name, stage in stages.items() if (manifest := store.manifest(stage))}
    works = build_work(stages, config, finished)
    measured = measured_manifests(store, config)
    rates = {name: find_rate(work, config, measured.get(name)) for name, work in works.items()}
    plans = [plan_stage(work, rates[name], config) for name, work in works.items()]
    print(render_stages(plans))
    memory = footprints(config, shape_of(config), works.values())
    if memory:
        print(f"\nEstimated GiB on a GPU:\n{render_memory(memory, config.plan.gpu_memory_gb)}")
    batches = {name: config.training[name].global_batch_size for name in works if name in config.training}
    table = render_what_if(what_if(works, rates, config), config.plan.gpus_per_node, batches)
    print(f"\nOn other clusters, all stages:\n{table}")
    work, rate = works["confidence"], rates["confidence"]
    outcomes = [
        simulate(
            scenario_of(work, rate, config, best_rows_per_block(work.num_units, count, config.engine.block_size)), count
        )
        for count in ENGINES
    ]
    print(f"\n{render_simulation('confidence', outcomes, largest_useful(outcomes))}")
    for warning in [*warn_placement(stages, config), *warn(plans, config, memory)]:
        print(f"\nwarning: {warning}")


if __name__ == "__main__":
    main()
