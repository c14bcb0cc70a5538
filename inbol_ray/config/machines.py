"""Where a run computes and where it keeps its files: Ray, the store, the vLLM engines."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from inbol_ray.config.section import Device, RunOnly, Section, compute_device

CPU_CACHE_BYTES = 256 << 20
"""Key-value cache of an engine on the CPU where none is set: vLLM would take gigabytes."""


class RayConfig(Section):
    """Where Ray runs."""

    address: str | None = None
    """Address of a running cluster ("auto" inside a job); null starts Ray on this machine for the run."""
    num_cpus: PositiveInt | None = None
    """Logical CPUs of a Ray started here. null: the machine's cores, at least 6 and at least two a GPU and two more. May
    exceed the cores: what waits for a GPU or a file needs none. Ours."""
    object_store_memory_bytes: Annotated[int, Field(ge=75 << 20)] | None = None
    """Object store of a Ray started here, in bytes. null: 30% of the memory, at most what /dev/shm holds, at least
    400 MB. Ours."""
    nodes_may_join: bool = False
    """Wait for nodes instead of refusing a stage that fits neither the nodes that are up nor the declared growth."""


class StorageConfig(Section):
    """The S3-compatible store behind `s3://` paths; credentials come from the usual boto3 chain."""

    endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")] | None = None
    """For example `http://minio:9000`; null means AWS."""
    region: str | None = None
    """null leaves it to boto3's configuration."""


class EngineConfig(Section):
    """The pool of vLLM engines that sampling, generation and evaluation share.

    Replies depend on `dtype`, `quantization` and `max_model_len`; the rest says where and how fast engines run.
    """

    num_engines: RunOnly[PositiveInt] = 1
    """Engines in the pool at most; each is one Ray actor with a copy of the model."""
    min_engines: RunOnly[PositiveInt | None] = None
    """Engines that must be up before work starts; the pool grows from here to `num_engines` while there is work for
    more. null: all of them."""
    tensor_parallel_size: RunOnly[PositiveInt] = 1
    """Devices that one engine is spread over."""
    num_gpus_per_engine: RunOnly[Annotated[float, Field(ge=0)] | None] = None
    """GPUs that each engine reserves. null: `tensor_parallel_size` where the cluster has GPUs when work starts, else 0,
    which is vLLM's CPU build."""
    device: RunOnly[Device] = "auto"
    """What an engine computes on: the GPUs that it reserves (`auto`), or the CPU all the same (`cpu`)."""
    num_cpus_per_engine: RunOnly[PositiveFloat] = 1
    start_timeout_s: RunOnly[PositiveInt] = 1800
    """Longest wait for `min_engines` engines, in seconds; then the job fails and says what the cluster lacks."""
    max_restarts: RunOnly[Annotated[int, Field(ge=0)]] = 3
    """Deaths of one engine after which the job fails; before that it is started again and its requests are retried."""
    stall_timeout_s: RunOnly[PositiveInt] = 600
    """An engine that has work and makes no step for so many seconds counts as dead."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    quantization: str | None = None
    """How vLLM is to quantise the weights as it loads them (`fp8`, `bitsandbytes`); null takes them as they are, in a
    checkpoint that is quantised already too."""
    max_model_len: PositiveInt = 256
    """Longest prompt plus response, in tokens; a longer prompt is a rejected row."""
    max_num_seqs: RunOnly[PositiveInt] = 256
    """Sequences an engine decodes at once."""
    max_num_batched_tokens: RunOnly[PositiveInt | None] = None
    """Tokens that an engine computes in one step at most, and image tokens that it encodes. null: on a GPU 8,192, or
    16,384 where an engine has 64 GiB of it (ours, after vLLM's own for batches); on the CPU vLLM's 2,048. Never less
    than `max_model_len` there, nor where it is null."""
    kv_cache_bytes: RunOnly[PositiveInt | None] = None
    """Key-value cache of an engine, in bytes. null: on a GPU what `gpu_memory_utilization` leaves, on the CPU 256 MiB."""
    gpu_memory_utilization: RunOnly[Annotated[float, Field(gt=0, le=1)]] = 0.92
    """Share of a GPU's whole memory that engines take, weights and caches; an engine that reserves a part of a GPU
    takes that part of it. The default is vLLM's."""
    memory_timeout_s: RunOnly[NonNegativeInt] = 300
    """Longest wait of a starting engine, in seconds, for memory that another process still holds."""
    enforce_eager: RunOnly[bool] = True
    """No graph capture: right for the tiny model on CPU; set false on GPUs."""
    batch_size: RunOnly[PositiveInt] = 512
    """Questions that an engine has in hand at once."""
    blocks_per_batch: RunOnly[PositiveInt] = 4
    """Blocks that a batch is cut into. Each is written as soon as its questions are answered, and the engine takes the
    next, so that it never waits for the last questions of one. A kill costs no more than a block of answers."""
    renderers_per_engine: RunOnly[PositiveInt] = 1
    """Processes that decode images and tokenize for one engine, at most; each takes a CPU."""

    @property
    def compute_device(self) -> Literal["cpu", "cuda"]:
        """`device`, decided; `num_gpus_per_engine` null counts as none (`runtime.resources.place_engines` decides it)."""
        return compute_device(self.device, self.num_gpus_per_engine)

    @property
    def cache_bytes(self) -> int | None:
        """`kv_cache_bytes`, decided; None leaves it to vLLM."""
        return self.kv_cache_bytes or (CPU_CACHE_BYTES if self.compute_device == "cpu" else None)

    @property
    def memory_share(self) -> float:
        """Share of a device's memory that one engine takes: two engines to a GPU take half of it each."""
        return self.gpu_memory_utilization * min(1.0, self.num_gpus_per_engine or 1.0)

    @property
    def block_size(self) -> int:
        """Questions in a block."""
        return max(1, self.batch_size // self.blocks_per_batch)

    @model_validator(mode="after")
    def _pool(self) -> "EngineConfig":
        if self.min_engines is not None and self.min_engines > self.num_engines:
            raise ValueError(f"min_engines ({self.min_engines}) must not exceed num_engines ({self.num_engines})")
        if self.num_gpus_per_engine and self.tensor_parallel_size > max(1, self.num_gpus_per_engine):
            raise ValueError(
                f"tensor_parallel_size ({self.tensor_parallel_size}) needs as many GPUs an engine: raise "
                f"num_gpus_per_engine ({self.num_gpus_per_engine:g}) or leave it null"
            )
        if self.max_num_batched_tokens is not None and self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens ({self.max_num_batched_tokens}) must hold a token for each of max_num_seqs "
                f"({self.max_num_seqs}): raise the one or lower the other"
            )
        return self
