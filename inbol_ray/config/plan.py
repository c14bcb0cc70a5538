"""What `jobs/plan.py` assumes."""

from pydantic import PositiveFloat, PositiveInt

from inbol_ray.config.section import Fraction, Section


class PlanConfig(Section):
    """What `jobs/plan.py` assumes where no earlier run has measured it. All values are ours."""

    nodes: list[PositiveInt] = [1, 2, 4, 8, 16, 32, 64, 125]
    """Nodes of the what-if table."""
    gpus_per_node: PositiveInt = 8
    """GPUs of a node; for a CPU run the engines and training workers that it holds."""
    model_parameters: PositiveFloat = 7.06e9
    """Parameters of the model; LLaVA-1.5-7B."""
    gpu_flops: PositiveFloat = 312e12
    """Peak bfloat16 operations a second of a GPU; an A100's."""
    utilisation: Fraction = 0.4
    """Share of the peak that prompts and training reach."""
    decode_tokens_per_s: PositiveFloat = 2_500
    """Tokens a second that one engine writes, over all sequences it decodes at once."""
    engine_start_s: PositiveFloat = 120
    """From the request for an engine to its first batch: weights from the store, memory profile, graph capture."""
    image_tokens: PositiveInt = 576
    """Tokens of an image; LLaVA-1.5's."""
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
    rendered_image_bytes: PositiveInt = 1_354_752
    """An image as an engine takes it; LLaVA-1.5's 3 x 336 x 336 numbers in float32."""
    store_reads_per_s: PositiveInt = 5_500
    """GET requests a second that S3 serves from one prefix."""
    dispatches_per_s: PositiveFloat = 500
    """Blocks a second that Ray Data's one scheduling thread hands to engines."""
