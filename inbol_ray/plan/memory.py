"""Whether a GPU holds what a stage puts onto it, estimated part by part, and what would make it fit.

Every part is a pure function of the model's shape and of a few settings, in bytes a GPU. Checked on the CPU as far as
that goes: parameters against real models, activations against what autograd saves. LoRA training of LLaVA-1.5-7B on one
H200 (`benchmarks/results`) took 97 to 98% of the estimate here without activation checkpointing, 87 to 93% with;
what an engine takes is not measured. The constants that only a GPU can give stand together at the top.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import Section
from inbol_ray.config.training import CaDpoConfig, LoraSettings, MethodConfig
from inbol_ray.models.shape import ModelShape
from inbol_ray.runtime.work import Work
from inbol_ray.sampling.engine_settings import num_batched_tokens

CONTEXT_BYTES = 1_500_000_000
"""Of a process on a GPU before it allocates anything: CUDA's context, NCCL's and cuBLAS' buffers. Assumed."""
FRAGMENTATION = 1.08
"""Memory that torch's allocator holds over what is in use. Assumed."""
ENOUGH_SEQUENCES = 8
"""Sequences of full length that an engine's cache should hold; with fewer, it decodes too little at once to be worth a
GPU. It starts with one."""
QUANTIZED_BYTES = {"fp8": 1.0, "int8": 1.0, "awq": 0.5, "gptq": 0.5, "bitsandbytes": 0.5}
"""Bytes of a weight of the decoder's linear layers, by the first part of vLLM's name of a method."""
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
GIB = 1 << 30

Mend = list[tuple[str, dict]]
"""One setting, from mild to severe: what it says, and the fields that it changes."""


@dataclass(frozen=True)
class Footprint:
    """What a process of a stage puts onto one GPU, in bytes by part."""

    stage: str
    parts: dict[str, float]
    mends: tuple[str, ...] = ()
    """Settings with which it fits, where it does not."""

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    def fits(self, gpu_bytes: float) -> bool:
        return self.total <= gpu_bytes


@dataclass(frozen=True)
class MicroBatch:
    """What a training worker runs forward at once."""

    tokens: int
    row_tokens: int
    """Longest row."""
    response_tokens: int
    """Response tokens of a row; logits are computed for these and one more position."""

    @property
    def rows(self) -> int:
        return max(1, self.tokens // self.row_tokens)


def engine_weights(shape: ModelShape, dtype: str, tensor_parallel: int, quantization: str | None = None) -> float:
    """parameters x bytes of the type / devices; the decoder's linear layers at the quantized width.

    LLaVA-1.5-7B in bfloat16: 7.06e9 x 2 = 14.1 GB; its linear layers (6.48e9) in fp8: 7.6 GB.
    """
    linear = shape.layers * shape.linear_parameters
    width = QUANTIZED_BYTES.get((quantization or "").split("_")[0], DTYPE_BYTES[dtype])
    return (linear * width + (shape.parameters - linear) * DTYPE_BYTES[dtype]) / tensor_parallel


def engine_cache(shape: ModelShape, dtype: str, tensor_parallel: int, tokens: int) -> float:
    """tokens x layers x (key + value) x bytes of the type / devices.

    LLaVA-1.5-7B in bfloat16: 2 x 32 x 4096 x 2 = 524,288 bytes a token.
    """
    return tokens * 2 * shape.layers * shape.kv_width * DTYPE_BYTES[dtype] / tensor_parallel


def engine_activations(shape: ModelShape, dtype: str, tensor_parallel: int, tokens: int, sequences: int) -> float:
    """Peak of a step: one decoder layer's tensors for a step's tokens (residual, norm, query, key, value, output, and
    three of the MLP's width), and logits with their log-probabilities in float32 for every sequence."""
    layer = tokens * DTYPE_BYTES[dtype] * (4 * shape.hidden + 2 * shape.kv_width + 3 * shape.intermediate)
    return layer / tensor_parallel + sequences * shape.vocabulary * 4 * 3


def engine_footprint(shape: ModelShape, engine: EngineConfig, *, gpu_bytes: float, stage: str) -> Footprint:
    """An engine's parts; the cache is the least that is worth a GPU (ENOUGH_SEQUENCES of `max_model_len`).

    What vLLM leaves free counts as taken.
    """
    parallel = engine.tensor_parallel_size
    step = num_batched_tokens(engine, int(engine.memory_share * gpu_bytes))
    tokens = min(ENOUGH_SEQUENCES, engine.max_num_seqs) * engine.max_model_len
    return Footprint(
        stage,
        {
            "weights": engine_weights(shape, engine.dtype, parallel, engine.quantization),
            "cache": engine.cache_bytes or engine_cache(shape, engine.dtype, parallel, tokens),
            "activations": engine_activations(shape, engine.dtype, parallel, step, engine.max_num_seqs),
            "overhead": max(CONTEXT_BYTES, (1 - engine.memory_share) * gpu_bytes),
        },
    )


def trainable_parameters(shape: ModelShape, method: MethodConfig) -> int:
    """Adapter and projector of a LoRA run; language model and projector of full fine-tuning, and the tower by config."""
    projector = shape.projector_parameters
    if method.lora is not None:
        return shape.adapter_parameters(method.lora.rank) + (projector if method.projector_learning_rate else 0)
    frozen = 0 if method.train_vision_tower else shape.vision_parameters
    return shape.parameters - frozen - (projector if method.projector_learning_rate == 0 else 0)


def sharded_states(shape: ModelShape, method: MethodConfig, shards: int) -> dict[str, float]:
    """What lies on a GPU all the time, a share of each.

    Frozen weights in the compute type. What trains in float32, its gradient in float32, Adam's two moments in float32
    (16 bytes a parameter), and 4 bytes more while the optimiser's step holds its update. Full fine-tuning with a live
    reference has the whole model frozen once more.
    """
    trained = trainable_parameters(shape, method)
    frozen = shape.parameters - trained + (shape.adapter_parameters(method.lora.rank) if method.lora else 0)
    parts = {
        "weights": (frozen * DTYPE_BYTES[method.dtype] + 4 * trained) / shards,
        "optimizer": (4 + 8 + 4) * trained / shards,
    }
    if _has_second_model(method):
        parts["reference"] = shape.parameters * DTYPE_BYTES[method.dtype] / shards
    return parts


def gathered_layers(shape: ModelShape, method: MethodConfig) -> float:
    """What FSDP gathers, in the compute type: two decoder layers (one computes, the next is on its way) and the root
    (embedding, output layer, projector), which stays from a step's first forward to its last backward. In full
    fine-tuning also a layer's and the root's whole gradient, in the compute type and in float32 for the exchange.
    """
    width = DTYPE_BYTES[method.dtype]
    layer = shape.layer_parameters + (shape.adapter_parameters(method.lora.rank) / shape.layers if method.lora else 0)
    gathered = width * (2 * layer + shape.rest_parameters * (2 if _has_second_model(method) else 1))
    if method.lora is None:
        gathered += (width + 4) * (layer + shape.rest_parameters)
    return gathered


def layer_activations(shape: ModelShape, lora: LoraSettings | None, dtype: str) -> float:
    """Bytes a token that autograd keeps of one decoder layer (hidden h, intermediate i).

    Two norms in float32: 8 h. In the compute type: both norms' outputs: 2 h; query, attention's output, and key and
    value, repeated for every query head: 4 q (q = heads x their width); gate, its activation, up, and their product:
    4 i. Full fine-tuning keeps what both norms' weights are multiplied with: 2 h. An adapter keeps its seven inner
    vectors of the rank; with dropout also each one's own dropped input and mask (1 byte), of five modules of width h,
    one of q and one of i.
    """
    width = DTYPE_BYTES[dtype]
    query = shape.heads * shape.head_dim
    per_token = 8 * shape.hidden + width * (2 * shape.hidden + 4 * query + 4 * shape.intermediate)
    if lora is None:
        return per_token + width * 2 * shape.hidden
    per_token += width * 7 * lora.rank
    if lora.dropout:
        per_token += (width + 1) * (5 * shape.hidden + query + shape.intermediate)
    return per_token


def activations(shape: ModelShape, method: MethodConfig, batch: MicroBatch) -> float:
    """Kept for the backward pass. With checkpointing: each layer's input, and one layer in full while it is computed
    again; without: all layers in full. The last norm besides; a frozen tower keeps nothing."""
    width = DTYPE_BYTES[method.dtype]
    full = layer_activations(shape, method.lora, method.dtype)
    layers = shape.layers * width * shape.hidden + full if method.gradient_checkpointing else shape.layers * full
    return batch.tokens * (layers + (4 + 2 * width) * shape.hidden)


def vision_activations(shape: ModelShape, method: MethodConfig, batch: MicroBatch) -> float:
    """The tower's hidden states, of which transformers holds all, and the features that come out of it; an image a row.

    A tower that trains keeps what a decoder layer would for its widths (checkpointing spares that too; not counted).
    """
    width = DTYPE_BYTES[method.dtype]
    tokens = batch.rows * (shape.image_tokens + 1)
    held = tokens * width * ((shape.vision_layers + 1) * shape.vision_hidden + 2 * shape.hidden)
    if method.train_vision_tower:
        held += tokens * width * shape.vision_layers * (10 * shape.vision_hidden + 2 * shape.vision_intermediate)
    return held


def logits(shape: ModelShape, method: MethodConfig, batch: MicroBatch) -> float:
    """Vocabulary x positions that are predicted x (the logits and their gradient in the compute type, and in float32
    the logits, their log-softmax and its gradient)."""
    positions = batch.rows * (1 + batch.response_tokens)
    return positions * shape.vocabulary * (2 * DTYPE_BYTES[method.dtype] + 3 * 4)


def attention_mask(batch: MicroBatch, dtype: str) -> float:
    """The dense mask of packed rows: a boolean a pair of tokens of a row, and the bias in the compute type that torch's
    attention makes of it."""
    return batch.tokens * batch.row_tokens * (1 + DTYPE_BYTES[dtype])


def training_footprint(shape: ModelShape, method: MethodConfig, batch: MicroBatch, stage: str) -> Footprint:
    """A training worker's parts, on as few workers as the training may go on with."""
    parts = sharded_states(shape, method, method.min_workers or method.num_workers) | {
        "gathered": gathered_layers(shape, method),
        "activations": activations(shape, method, batch)
        + vision_activations(shape, method, batch)
        + attention_mask(batch, method.dtype),
        "logits": logits(shape, method, batch),
    }
    return Footprint(stage, parts | {"overhead": CONTEXT_BYTES + (FRAGMENTATION - 1) * sum(parts.values())})


def micro_batch(shape: ModelShape, method: MethodConfig, config: PipelineConfig) -> MicroBatch:
    """The micro-batch of a method: its budget, or a worker's whole share where there is none; rows as `plan` assumes."""
    plan = config.plan
    responses = plan.response_tokens * (3 if isinstance(method, CaDpoConfig) else 1)
    row = min(method.max_length, shape.image_tokens + plan.question_tokens + responses)
    share = method.global_batch_size // method.num_workers * row
    return MicroBatch(max(row, min(method.micro_batch_tokens or share, share)), row, responses)


def _has_second_model(method: MethodConfig) -> bool:
    return isinstance(method, CaDpoConfig) and method.lora is None and method.reference == "live"


def footprints(config: PipelineConfig, shape: ModelShape, works: Iterable[Work]) -> list[Footprint]:
    """What each stage that computes on GPUs puts onto one of them; where it does not fit, with mends."""
    gpu_bytes = config.plan.gpu_memory_gb * GIB
    found = []
    for work in works:
        stage = work.stage
        if work.needs == "engines" and config.engine.device != "cpu" and gpus_per_engine(config):
            estimate = partial(engine_footprint, shape, gpu_bytes=gpu_bytes, stage=stage)
            found.append(_with_mends(config.engine, estimate, engine_mends(config.engine), gpu_bytes))
        method = config.training[stage] if work.needs == "workers" else None
        if method is not None and method.compute_device == "cuda":
            estimate = partial(_trained, config=config, shape=shape, stage=stage)
            found.append(_with_mends(method, estimate, training_mends(stage, method), gpu_bytes))
    return found


def gpus_per_engine(config: PipelineConfig) -> float:
    """The configured number; where the cluster is to decide, it is planned as one that has GPUs if trainings use them."""
    engine = config.engine
    if engine.num_gpus_per_engine is not None:
        return engine.num_gpus_per_engine
    trains_on_gpus = any(method.num_gpus_per_worker for method in config.training.values())
    return float(engine.tensor_parallel_size * trains_on_gpus)


def engine_mends(engine: EngineConfig) -> list[Mend]:
    """What spares memory of an engine, the mildest first."""
    mends: list[Mend] = []
    if engine.dtype == "float32":
        mends.append([("engine.dtype bfloat16", {"dtype": "bfloat16"})])
    if engine.quantization is None:
        mends.append([("engine.quantization fp8", {"quantization": "fp8"})])
    lengths = [length for length in (4096, 2048, 1024) if length < engine.max_model_len]
    mends.append([(f"engine.max_model_len {length}", {"max_model_len": length}) for length in lengths])
    mends.append([_spread(engine, engine.tensor_parallel_size * factor) for factor in (2, 4, 8)])
    return [mend for mend in mends if mend]


def _spread(engine: EngineConfig, devices: int) -> tuple[str, dict]:
    """Tensor parallelism over so many devices; a number of GPUs that is set has to grow with it."""
    text, update = f"engine.tensor_parallel_size {devices}", {"tensor_parallel_size": devices}
    if not engine.num_gpus_per_engine:
        return text, update
    return f"{text} with engine.num_gpus_per_engine {devices}", update | {"num_gpus_per_engine": devices}


def training_mends(stage: str, method: MethodConfig) -> list[Mend]:
    """What spares memory of a training worker, the mildest first. None of them but `lora` and the type changes what is
    learnt."""
    mends: list[Mend] = []
    if not method.gradient_checkpointing:
        mends.append([("gradient_checkpointing true", {"gradient_checkpointing": True})])
    budgets = [budget for budget in (16_384, 8_192, 4_096, 2_048, 1_024) if budget < (method.micro_batch_tokens or 1e9)]
    mends.append([(f"micro_batch_tokens {budget}", {"micro_batch_tokens": budget}) for budget in budgets])
    if method.dtype == "float32":
        mends.append([("dtype bfloat16", {"dtype": "bfloat16"})])
    if _has_second_model(method):
        mends.append([("reference precomputed", {"reference": "precomputed"})])
    if method.min_workers is None:
        counts = [method.num_workers * factor for factor in (2, 4, 8, 16)]
        counts = [count for count in counts if method.global_batch_size % count == 0]
        mends.append([(f"num_workers {count}", {"num_workers": count}) for count in counts])
    if method.lora is None and not method.train_vision_tower:
        mends.append([("lora {rank: 128}", {"lora": LoraSettings()})])
    return [[(f"training.{stage}.{text}", update) for text, update in mend] for mend in mends if mend]


def _trained(method: MethodConfig, *, config: PipelineConfig, shape: ModelShape, stage: str) -> Footprint:
    return training_footprint(shape, method, micro_batch(shape, method, config), stage)


def _with_mends(
    section: Section, estimate: Callable[[Section], Footprint], mends: Sequence[Mend], gpu_bytes: float
) -> Footprint:
    """The footprint; where it does not fit, with every mend that is enough by itself, else with the first that are
    enough together."""
    footprint = estimate(section)
    if footprint.fits(gpu_bytes):
        return footprint

    def fits(update: dict) -> bool:
        return estimate(section.model_copy(update=update)).fits(gpu_bytes)

    alone = [next((text for text, update in mend if fits(update)), None) for mend in mends]
    if any(alone):
        return replace(footprint, mends=tuple(filter(None, alone)))
    texts, together = [], {}
    for mend in mends:
        for text, update in mend:  # as mild as is enough, else as far as it goes
            if fits(together | update):
                return replace(footprint, mends=(" and ".join([*texts, text]),))
        texts.append(mend[-1][0])
        together |= mend[-1][1]
    return footprint
