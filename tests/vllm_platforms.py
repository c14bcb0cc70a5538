"""vLLM as it finds itself on other machines, as far as its own configuration and validation go.

What this does not prove: that kernels run, that V2's sampler computes what it says, that memory suffices.
"""

import sys
import types

import pytest


def pretend(monkeypatch: pytest.MonkeyPatch, platform) -> None:
    """vLLM takes this machine for `platform`; its modules that are loaded already do too."""
    import vllm.model_executor.model_loader
    import vllm.model_executor.models.llava
    import vllm.platforms
    import vllm.v1.engine.input_processor  # noqa: F401

    here = vllm.platforms.current_platform
    monkeypatch.setattr(vllm.platforms, "_current_platform", platform)
    for module in list(sys.modules.values()):
        if vars(module).get("current_platform") is here:
            monkeypatch.setattr(module, "current_platform", platform)


def pretend_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without a GPU on which vLLM's build for GPUs is installed."""
    from vllm.platforms.interface import UnspecifiedPlatform

    pretend(monkeypatch, UnspecifiedPlatform())


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, total_bytes: int = 80 << 30) -> None:
    """A node with one GPU of compute capability 9.0 and vLLM's build for GPUs, which picks Model Runner V2."""
    monkeypatch.setitem(sys.modules, "vllm._C_stable_libtorch", types.ModuleType("kernels"))
    _pretend_triton(monkeypatch)
    from vllm.platforms.cuda import NonNvmlCudaPlatform
    from vllm.platforms.interface import DeviceCapability

    class Gpu(NonNvmlCudaPlatform):
        get_device_capability = classmethod(lambda cls, device_id=0: DeviceCapability(9, 0))
        get_device_name = classmethod(lambda cls, device_id=0: "a GPU")
        get_device_total_memory = classmethod(lambda cls, device_id=0: total_bytes)
        device_count = classmethod(lambda cls: 1)

    pretend(monkeypatch, Gpu())


def _pretend_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Triton works, vLLM picks Model Runner V2."""
    import vllm.config.vllm

    monkeypatch.setattr(vllm.config.vllm, "HAS_TRITON", True)


def check_params_on_v2(monkeypatch: pytest.MonkeyPatch, arguments, requests) -> None:
    """Raise what vLLM would say to these (EngineInput, SamplingParams) on Model Runner V2, `arguments` being EngineArgs."""
    _pretend_triton(monkeypatch)
    from vllm.sampling_params import MAX_LOGPROB_TOKEN_IDS
    from vllm.v1.engine.input_processor import InputProcessor
    from vllm.v1.worker.gpu.sample.logit_bias import MAX_NUM_STOP_TOKEN_IDS

    config = arguments.create_engine_config()
    assert config.use_v2_model_runner
    processor = InputProcessor(config)
    for number, (rendered, params) in enumerate(requests):
        taken = processor.process_inputs(str(number), rendered, params, ("generate",)).sampling_params
        # V2's sampler looks at these only when a request reaches it, and would end the engine.
        assert len(taken.all_stop_token_ids) <= MAX_NUM_STOP_TOKEN_IDS
        assert len(taken.logprob_token_ids or ()) <= MAX_LOGPROB_TOKEN_IDS
        assert not (taken.logit_bias or taken.allowed_token_ids or taken.bad_words or taken.extra_args)
