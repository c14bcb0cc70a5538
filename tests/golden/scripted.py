"""Ray and vLLM taken out of the stages: engines are scripted, and what tasks compute is computed right here."""

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from types import SimpleNamespace

from inbol_ray.corpora.leakage import _add_keys
from inbol_ray.corpora.read import _read_blocks
from inbol_ray.sampling.in_hand import reply_table
from inbol_ray.sampling.parts import open_parts
from inbol_ray.sampling.vllm_engine import Reply


class Engine:
    """Stands in for `sampling.generate.generate`, and keeps what it is asked.

    `texts_of` gives a request's row as many texts as may be drawn of it; `first_token` is what a judge's first token
    may be. A text's tokens are its letters, each a little less likely than the one before.
    """

    def __init__(self, texts_of: Callable[[dict], list[str]], first_token_of: Callable[[dict], dict] | None = None):
        self.texts_of, self.first_token_of = texts_of, first_token_of
        self.asked: list[dict] = []

    def __call__(self, requests, checkpoints, pool, decoding, *, folder, unit, progress=None, rounds=None):
        tables = list(requests)
        parts = open_parts(folder, pool.storage, tables, {"decoding": asdict(decoding)}, block_size=3)
        for block in range(parts.num_blocks):
            rows = parts.read_requests(block).to_pylist()
            for row in rows:
                asked = {name: row[name] for name in ("id", "checkpoint", "prompt", "images")}
                self.asked.append(asked | {"decoding": asdict(decoding)})
            parts.write(
                block, [row["id"] for row in rows], reply_table([self._reply(row, decoding, rounds) for row in rows])
            )
        return parts

    def _reply(self, row: dict, decoding, rounds) -> Reply:
        reply, texts = Reply(), self.texts_of(row)
        while (more := rounds.num_more(row, reply) if rounds else decoding.num_samples - len(reply.texts)) > 0:
            for place in range(len(reply.texts), len(reply.texts) + more):
                text = texts[place % len(texts)]
                reply.texts.append(text)
                reply.token_logprobs.append([-0.05 * (1 + place) for place in range(max(1, len(text)))])
        if self.first_token_of:
            reply.first_token = self.first_token_of(row)
        if decoding.force_first:
            reply.answer_probability = round(0.9 - 0.05 * len(row["prompt"]) % 0.8, 3)
        return reply


def read_right_here(monkeypatch, module: str) -> None:
    """Corpora are read in this process, where `module` calls Ray Data."""
    monkeypatch.setattr(
        f"{module}.read_corpora", lambda sources: (one for source in sources for one in _read_blocks(source))
    )
    monkeypatch.setattr(f"{module}.stream_tables", lambda tables: tables)


def add_keys_right_here(monkeypatch) -> None:
    monkeypatch.setattr(
        "inbol_ray.corpora.stage.with_keys",
        lambda tables, *, compare_content: (_add_keys(table, compare_content) for table in tables),
    )


def tasks_right_here(monkeypatch, task: str) -> None:
    """A Ray task of a module is a plain call, and `ray.get` there gives the results back."""
    module, _, name = task.rpartition(".")
    function = getattr(import_module(module), name)._function
    monkeypatch.setattr(task, SimpleNamespace(remote=function))
    monkeypatch.setattr(f"{module}.ray", SimpleNamespace(get=list))


class Rows:
    """Stands in for a Ray Data dataset of `ray.data.range`."""

    def __init__(self, num_rows: int, **_):
        self.batches = [{"id": [number]} for number in range(num_rows)]
        self.context = SimpleNamespace(execution_options=SimpleNamespace(preserve_order=False))

    def map_batches(self, function, *, fn_kwargs, **_) -> "Rows":
        self.batches = [function(batch, **fn_kwargs) for batch in self.batches]
        return self

    def iter_batches(self, **_):
        return iter(self.batches)


def judge_right_here(judge, parts):
    """In place of `Judge.judge_parts`."""
    return map(judge, parts.read())
