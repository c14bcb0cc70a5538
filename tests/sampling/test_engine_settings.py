"""What vLLM makes of our settings, on this machine and on ones with a GPU or without a device (`vllm_platforms`)."""

import pytest
from pydantic import ValidationError

from inbol_ray.config.machines import EngineConfig
from inbol_ray.errors import ConfigError
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.sampling.engine_settings import check_quantization, engine_args
from inbol_ray.sampling.render import Renderer
from tests.vllm_platforms import pretend_gpu, pretend_no_device

GPU = EngineConfig(num_gpus_per_engine=1, dtype="bfloat16", max_model_len=512)


@pytest.mark.parametrize("node", [pretend_no_device, pretend_gpu])
def test_a_renderer_starts_and_renders_alike_on_any_node(tiny_llava, scene_images, monkeypatch, node):
    rows = [{"id": "vqav2:val:1", "prompt": DEFAULT_FAMILY.chat.prompt("What is it?"), "images": scene_images[:1]}]
    (here,) = Renderer(str(tiny_llava), EngineConfig()).render(rows)
    node(monkeypatch)
    if node is pretend_no_device:
        with pytest.raises(RuntimeError, match="Device string must not be empty"):
            engine_args(str(tiny_llava), EngineConfig(), 0).create_engine_config()  # what kept it from starting
    (there,) = Renderer(str(tiny_llava), EngineConfig()).render(rows)
    assert there["prompt_token_ids"] == here["prompt_token_ids"] and there["mm_hashes"] == here["mm_hashes"]
    assert there["mm_placeholders"] == here["mm_placeholders"]
    (item,), (other) = here["mm_kwargs"]["image"], there["mm_kwargs"]["image"][0]
    assert (item.get_data()["pixel_values"] == other.get_data()["pixel_values"]).all()


def test_an_image_is_known_by_what_it_shows(tiny_llava, scene_images):
    rows = [
        {"id": f"vqav2:val:{n}", "prompt": DEFAULT_FAMILY.chat.prompt(f"{n}?"), "images": [scene_images[n % 2]]}
        for n in range(4)
    ]
    hashes = [one["mm_hashes"]["image"] for one in Renderer(str(tiny_llava), EngineConfig()).render(rows)]
    assert hashes[0] == hashes[2] != hashes[1] == hashes[3]


def test_on_the_cpu_steps_are_as_large_as_vllm_makes_them(tiny_llava):
    config = engine_args(str(tiny_llava), EngineConfig(), 0).create_engine_config()
    assert config.scheduler_config.max_num_batched_tokens == 2048
    assert not config.scheduler_config.enable_chunked_prefill
    set_to = EngineConfig(max_num_batched_tokens=512)
    config = engine_args(str(tiny_llava), set_to, 0).create_engine_config()
    assert config.scheduler_config.max_num_batched_tokens == config.scheduler_config.encoder_cache_size == 512


@pytest.mark.parametrize(("device_bytes", "num_tokens"), [(22 << 30, 8192), (36 << 30, 8192), (73 << 30, 16384)])
def test_on_a_gpu_a_step_holds_more_images_than_three(tiny_llava, monkeypatch, device_bytes, num_tokens):
    pretend_gpu(monkeypatch)
    config = engine_args(str(tiny_llava), GPU, 0, device_bytes).create_engine_config()
    scheduler = config.scheduler_config
    assert scheduler.max_num_batched_tokens == num_tokens >= 14 * 576
    assert scheduler.max_num_encoder_input_tokens == scheduler.encoder_cache_size == num_tokens
    assert config.device_config.device_type == "cuda" and config.use_v2_model_runner
    own = GPU.model_copy(update={"max_num_batched_tokens": 4096})
    config = engine_args(str(tiny_llava), own, 0, device_bytes).create_engine_config()
    assert config.scheduler_config.max_num_batched_tokens == 4096


def test_v2_takes_the_logits_processors_of_our_engines(tiny_llava, monkeypatch):
    """It refused ours of the V1 kind: every engine ended as it started."""
    from vllm.v1.worker.gpu.sample.logits_processor import build_custom_logits_processors_params_validator

    pretend_gpu(monkeypatch)
    config = engine_args(str(tiny_llava), GPU, 0, 73 << 30).create_engine_config()
    build_custom_logits_processors_params_validator(config.model_config.logits_processors)


def test_quantisation_is_vllms_and_an_unknown_one_is_named(tiny_llava, monkeypatch):
    pretend_gpu(monkeypatch)
    fp8 = GPU.model_copy(update={"quantization": "fp8"})
    check_quantization(fp8)
    # What goes on from here asks the kernels what they can: unproven without them.
    assert engine_args(str(tiny_llava), fp8, 0, 20 << 30).create_model_config().quantization == "fp8"
    with pytest.raises(ConfigError, match="engine.quantization is 'fp9'; vLLM knows .*fp8"):
        check_quantization(GPU.model_copy(update={"quantization": "fp9"}))


def test_two_engines_to_a_gpu_take_half_of_it_each(tiny_llava):
    half = GPU.model_copy(update={"num_gpus_per_engine": 0.5, "gpu_memory_utilization": 0.9})
    assert engine_args(str(tiny_llava), half, 0).gpu_memory_utilization == pytest.approx(0.45)
    assert engine_args(str(tiny_llava), GPU, 0).gpu_memory_utilization == 0.92
    spread = GPU.model_copy(update={"num_gpus_per_engine": 2, "tensor_parallel_size": 2})
    assert engine_args(str(tiny_llava), spread, 0).gpu_memory_utilization == 0.92


def test_a_step_without_a_token_for_each_sequence_is_a_config_error():
    with pytest.raises(
        ValidationError, match="max_num_batched_tokens .200. must hold a token for each of max_num_seqs"
    ):
        EngineConfig(max_num_batched_tokens=200)


def test_on_the_cpu_a_step_holds_the_longest_prompt(tiny_llava):
    """There it is not taken in pieces, and vLLM would not start."""
    short = EngineConfig(max_num_batched_tokens=200, max_num_seqs=16)
    config = engine_args(str(tiny_llava), short, 0).create_engine_config()
    assert config.scheduler_config.max_num_batched_tokens == short.max_model_len == 256


def test_settings_that_change_replies_are_those_of_the_stages():
    """Both keys of finished work have them, so that one more of them makes both stale."""
    from inbol_ray.config.load import load_config
    from inbol_ray.config.section import result_settings
    from inbol_ray.pipeline import build_stages

    config = load_config(["--config", "jobs/configs/demo.yaml"])
    stages = build_stages(config)
    for change, is_stale in (
        ({"quantization": "fp8"}, True),
        ({"dtype": "bfloat16"}, True),
        ({"gpu_memory_utilization": 0.5, "max_num_batched_tokens": 4096, "memory_timeout_s": 1}, False),
    ):
        engine = config.engine.model_copy(update=change)
        changed = build_stages(config.model_copy(update={"engine": engine}))
        assert (result_settings(engine) != result_settings(config.engine)) == is_stale
        assert (changed["evaluate"].fingerprint != stages["evaluate"].fingerprint) == is_stale


def test_the_default_cache_is_a_cpu_engines():
    assert EngineConfig().cache_bytes == EngineConfig(num_gpus_per_engine=1, device="cpu").cache_bytes == 256 << 20
    assert EngineConfig(num_gpus_per_engine=1).cache_bytes is None
    assert EngineConfig(num_gpus_per_engine=1, kv_cache_bytes=1 << 30).cache_bytes == 1 << 30
