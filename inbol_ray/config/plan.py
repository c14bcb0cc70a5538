"""What `jobs/plan.py` assumes."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from inbol_ray.config.section import Fraction, Section


class PlanConfig(Section):
    """What `jobs/plan.py` assumes where no earlier run has measured it. All values are ours."""

    nodes: list[PositiveInt] = [1, 2, 4, 8, 16, 32, 64, 125]
    """Nodes of the what-if table."""
    gpus_per_node: PositiveInt = 8
    """GPUs of a node; for a CPU run the engines and training workers that it holds."""
    node_cpus: PositiveInt = 64
    """CPUs of a node. A stage that does not fit the nodes of the largest cluster in the table is warned of."""
    model: Literal["llava-1.5-7b", "llava-1.5-13b"] | None = None
    """Shape of the model. null: that of `base_model.path`'s config.json where it is a local folder, else what its name
    says, else llava-1.5-7b."""
    gpu_memory_gb: PositiveFloat = 80
    """Memory of a GPU as its name says it: 24, 40, 80 (in GiB)."""
    gpu_flops: PositiveFloat = 312e12
    """Peak bfloat16 operations a second of a GPU; an A100's."""
    utilisation: Fraction = 0.4
    """Share of the peak that prompts and training reach."""
    decode_tokens_per_s: PositiveFloat = 2_500
    """Tokens a second that one engine writes, over all sequences it decodes at once."""
    engine_start_s: PositiveFloat = 120
    """From the request for an engine to its first batch: weights from the store, memory profile, graph capture."""
    question_tokens: PositiveInt = 40
    response_tokens: PositiveInt = 6
    """Mean length of a response: the corpora ask for a word or a phrase."""
    judged_rows_per_s: PositiveFloat = 6_000
    """Questions a second, with ten replies each, that one CPU judges; measured."""
    driver_rows_per_s: PositiveFloat = 40_000
    """Rows a second that the driver reads, prepares and writes. Measured on one core: 140,000 sampled questions, and
    42,000 replies of an evaluation, which it judges as well."""
    driver_memory_bytes: PositiveInt = 32_000_000_000
    object_store_bytes_per_node: PositiveInt = 60_000_000_000
    """Object store of a node of the cluster; the shipped cluster files give /dev/shm 64 GiB. A Ray that a run starts by
    itself (`ray.address` null) with `ray.object_store_memory_bytes` set has that much."""
    store_reads_per_s: PositiveInt = 5_500
    """GET requests a second that S3 serves from one prefix."""
    dispatches_per_s: PositiveFloat = 500
    """Blocks a second that Ray Data's one scheduling thread hands to engines."""
