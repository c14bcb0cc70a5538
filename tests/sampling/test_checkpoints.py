"""Engines read what training reads of a checkpoint, be its processor complete or not."""

from damaged_checkpoints import WITHOUT_PROCESSOR_FIELDS, damaged

from inbol_ray.config.machines import EngineConfig
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.sampling.render import Renderer
from inbol_ray.sampling.vllm_engine import Decoding, Request, VllmEngine

CONFIG = EngineConfig(kv_cache_bytes=64 << 20, max_num_seqs=16)


def test_fields_that_a_processor_lacks_change_no_answer(tiny_llava, scene_images, tmp_path):
    rows = [
        {"id": f"vqav2:val:{n}", "prompt": DEFAULT_FAMILY.chat.prompt(f"What is {n}?"), "images": [image]}
        for n, image in enumerate(scene_images)
    ]

    def ask(folder):
        engine = VllmEngine(str(folder), CONFIG, seed=0)
        inputs = Renderer(str(folder), CONFIG).render(rows)
        try:
            replies = engine.generate([Request(one, n) for n, one in enumerate(inputs)], Decoding(6, 1.0, 6, 1))
        finally:
            engine._vllm.engine_core.shutdown()
        return [(reply.texts, reply.token_logprobs) for reply in replies]

    expected = ask(tiny_llava)
    assert all(texts for texts, _ in expected)
    assert ask(damaged(tiny_llava, tmp_path / "model", WITHOUT_PROCESSOR_FIELDS)) == expected
