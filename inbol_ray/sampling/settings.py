"""What every stage that asks engines depends on, whatever it asks."""

from typing import Any, Self

from inbol_ray.config.machines import EngineConfig, StorageConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import Section
from inbol_ray.images import IMAGES_VERSION
from inbol_ray.method.prompts import PROMPTS_VERSION
from inbol_ray.sampling.generate import SAMPLING_VERSION, Pool


class EngineSettings(Section):
    """Settings that the replies of engines depend on; those of a stage add its own."""

    prompts: PromptConfig
    prompts_version: int = PROMPTS_VERSION
    images_version: int = IMAGES_VERSION
    engine: EngineConfig
    sampling_version: int = SAMPLING_VERSION
    seed: int

    @classmethod
    def of(cls, config: PipelineConfig, **own: Any) -> Self:
        return cls(prompts=config.prompts, engine=config.engine, seed=config.seed, **own)

    def pool(self, storage: StorageConfig) -> Pool:
        return Pool(self.engine, self.seed, storage)
