"""What exists in a store, from what it was made, and what nothing refers to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from inbol_ray.errors import MissingInputError
from inbol_ray.store.artifacts import Store


@dataclass(frozen=True)
class Entry:
    """An artifact as it lies in the store; `manifest` is None while it is unfinished."""

    artifact_id: str
    manifest: dict | None

    @property
    def state(self) -> str:
        return "finished" if self.manifest else "unfinished"


@dataclass(frozen=True)
class Garbage:
    """An artifact, or one attempt at it, that may go, and why."""

    artifact_id: str
    attempt: str
    reason: str
    num_bytes: int


def list_artifacts(store: Store) -> list[Entry]:
    """Every artifact, the oldest finished first, unfinished ones last."""
    entries = [Entry(name, store.read_manifest(name)) for name in store.names()]
    return sorted(entries, key=lambda entry: (entry.manifest is None, (entry.manifest or {}).get("finished", "")))


def find_artifact(store: Store, name: str) -> Entry:
    """The artifact with this id, or the only one whose id starts so. Raises MissingInputError."""
    found = [known for known in store.names() if known == name] or [
        known for known in store.names() if known.startswith(name)
    ]
    if len(found) != 1:
        raise MissingInputError(
            f"{name!r}: {len(found)} artifacts of {store.root} match; give an id, or the start of one, that "
            f"`python jobs/artifacts.py ls` lists{': ' + ', '.join(found) if found else ''}"
        )
    return Entry(found[0], store.read_manifest(found[0]))


def walk_lineage(store: Store, artifact_id: str) -> Iterator[tuple[int, str, str, dict | None]]:
    """(depth, key under which it was read, id, manifest) of an artifact and of all it was made from, depth first.

    An artifact that was read twice is walked once; its later mentions come without what lies below.
    """
    seen: set[str] = set()

    def walk(depth: int, key: str, name: str) -> Iterator[tuple[int, str, str, dict | None]]:
        manifest = store.read_manifest(name)
        yield depth, key, name, manifest
        if name in seen:
            return
        seen.add(name)
        for input_key, source in (manifest or {}).get("inputs", {}).items():
            yield from walk(depth + 1, input_key, source)

    yield from walk(0, "", artifact_id)


def find_garbage(store: Store, wanted: Iterable[str]) -> list[Garbage]:
    """What neither `wanted` (artifact ids) nor anything they were made from refers to, and dead attempts.

    What a process is computing at the moment stays.
    """
    kept = {name for root in wanted for _, _, name, _ in walk_lineage(store, root)}
    found = []
    for name in store.names():
        if store.is_being_computed(name):
            continue
        manifest = store.read_manifest(name)
        if name not in kept:
            reason = "no wanted artifact refers to it" if manifest else "unfinished, and not wanted"
            found.append(Garbage(name, "", reason, store.num_bytes(name)))
            continue
        found += [
            Garbage(name, attempt, "an attempt that did not count", store.num_bytes(f"{name}/{attempt}"))
            for attempt in store.attempts(name)
            if attempt != (manifest or {}).get("attempt")
        ]
    return found
