"""The model card that lies beside exported weights: what the model was made from, how, and how training went."""

import json
import posixpath

import yaml

from inbol_ray.config.training import CaDpoConfig
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.runtime.stage import StageContext
from inbol_ray.store.artifacts import Store, home_of
from inbol_ray.store.lineage import walk_lineage
from inbol_ray.training.export import ADAPTER, MODEL

CARD = "README.md"
_METHODS = {
    True: "CA-DPO (confidence-aware direct preference optimisation)",
    False: "supervised fine-tuning on response tokens",
}


def write_model_cards(context: StageContext, init_checkpoint: str, metrics: dict) -> None:
    """Write a Hugging Face model card into `model/`, and into `adapter/` of a LoRA run."""
    for name, library in (
        {MODEL: "transformers"} | ({ADAPTER: "peft"} if context.settings.training.lora else {})
    ).items():
        folder = context.folder / name  # with a store, the worker has put the rest of it there already
        folder.mkdir(exist_ok=True)
        (folder / CARD).write_text(render_card(context, init_checkpoint, metrics, library))


def render_card(context: StageContext, init_checkpoint: str, metrics: dict, library: str) -> str:
    """The card's text: front matter, method, lineage, rows, metrics, configuration.

    `context.settings` are `training.stage.TrainSettings`.
    """
    settings, config = context.settings, context.settings.training
    base = settings.base_model
    front = {
        "library_name": library,
        "pipeline_tag": "image-text-to-text",
        "base_model": base.path if base.kind == "checkpoint" else init_checkpoint,
        "datasets": settings.datasets,
        "tags": ["llava", "refusal", "inbol", config.kind],
    }
    method = _METHODS[isinstance(config, CaDpoConfig)]
    shown = {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in metrics.items()}
    dropped = context.rejected.total()
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
            f"# {settings.method}",
            f"A LLaVA trained to refuse what it cannot answer (InBoL, arXiv 2412.11196) by {method}.",
            "Data for a model is built from what that model knows: use it with no other.\n",
            "## Prompt\n",
            "Trained on prompts of this form, with pictures padded to a square, as the processor in this folder does:\n",
            f"```\n{DEFAULT_FAMILY.chat.prompt('{question}', system=settings.system)}\n```\n",
            "## Lineage\n",
            f"Started from `{init_checkpoint}`, seed {settings.seed}; {dropped} training rows were dropped.\n",
            _table(("artifact", "made", "git commit", "counts"), _lineage(context)),
            "## Last training metrics\n",
            _table(("metric", "value"), shown.items()),
            "## Configuration\n",
            f"```json\n{json.dumps(config.model_dump(mode='json'), indent=1)}\n```\n",
        ]
    )


def _lineage(context: StageContext) -> list[tuple[str, str, str, str]]:
    """The finished artifacts that this one stands on, nearest first."""
    store = Store(posixpath.dirname(home_of(context.uri)), context.storage)
    walked = [
        (depth, artifact, manifest)
        for uri in context.input_uris.values()
        for depth, _, artifact, manifest in walk_lineage(store, posixpath.basename(home_of(uri)))
    ]
    nearest_first = {artifact: manifest for _, artifact, manifest in sorted(walked, key=lambda found: found[0])}
    return [
        (
            artifact,
            manifest["finished"],
            (manifest["git_commit"] or "unknown")[:12],
            ", ".join(f"{value:,} {key}" for key, value in manifest["counts"].items()),
        )
        for artifact, manifest in nearest_first.items()
    ]


def _table(header: tuple[str, ...], rows) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
