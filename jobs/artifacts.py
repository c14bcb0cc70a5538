"""What has been computed: `ls` lists it, `show ID` prints one manifest, `lineage ID` what it was made from, and `gc`
what the configuration does not refer to (`gc --delete` removes that).

An ID may be cut short as long as it names one artifact: `python jobs/artifacts.py show ca_dpo --config FILE`.
"""

import json
import sys

from inbol_ray.config.load import parse_job_args
from inbol_ray.config.schema import PipelineConfig

COMMANDS = ("ls", "show", "lineage", "gc")


def main() -> None:
    command, name, options, delete = _split(sys.argv[1:])
    config = parse_job_args(__doc__, options)
    if command not in COMMANDS or (command in ("show", "lineage")) != (name is not None):
        usage = "expected: ls | show ID | lineage ID | gc [--delete], then --config FILE"
        print(f"error: found {' '.join(filter(None, (command, name))) or 'no command'}; {usage}", file=sys.stderr)
        raise SystemExit(2)
    from inbol_ray.runtime.job import run_job

    run_job(lambda: _run(command, name, config, delete))


def _split(argv: list[str]) -> tuple[str | None, str | None, list[str], bool]:
    """(command, artifact id, configuration options, --delete)."""
    words = []
    while argv and not argv[0].startswith("-") and len(words) < 2:
        words.append(argv.pop(0))
    delete = "--delete" in argv
    options = [option for option in argv if option != "--delete"]
    return *(words + [None, None])[:2], options, delete


def _run(command: str, name: str | None, config: PipelineConfig, delete: bool) -> None:
    from inbol_ray.pipeline import build_stages
    from inbol_ray.store.artifacts import open_store
    from inbol_ray.store.lineage import find_artifact, find_garbage, list_artifacts, walk_lineage
    from inbol_ray.text_table import text_table

    store = open_store(config)
    wanted = {stage.artifact_id for stage in build_stages(config).values()}
    if command == "ls":
        grid = [["artifact", "finished", "size", "in this configuration", "rows"]]
        for entry in list_artifacts(store):
            manifest = entry.manifest or {}
            counts = ", ".join(f"{value:,} {key}" for key, value in manifest.get("counts", {}).items())
            finished = manifest.get("finished", "unfinished")[:19]
            size = _size(manifest.get("bytes", store.num_bytes(entry.artifact_id)))
            mark = "yes" if entry.artifact_id in wanted else "no"
            grid.append([entry.artifact_id, finished, size, mark, counts])
        print(text_table(grid, left=(0, 1, 3, 4)))
    elif command == "show":
        entry = find_artifact(store, name)
        print(json.dumps(entry.manifest or {"artifact": entry.artifact_id, "state": entry.state}, indent=1))
    elif command == "lineage":
        for depth, key, artifact_id, manifest in walk_lineage(store, find_artifact(store, name).artifact_id):
            state = "" if manifest else "  (not in the store)"
            print(f"{'  ' * depth}{key + ': ' if key else ''}{artifact_id}{state}")
    else:
        garbage = find_garbage(store, wanted)
        if garbage:
            grid = [["not referred to", "size", "why"]]
            for item in garbage:
                where = "/".join(filter(None, (item.artifact_id, item.attempt)))
                grid.append([where, _size(item.num_bytes), item.reason])
            print(text_table(grid, left=(0, 2)))
        if delete:
            for item in garbage:
                store.delete(item.artifact_id, item.attempt)
        total = f"{len(garbage)} to remove, {_size(sum(item.num_bytes for item in garbage))}"
        print(f"{total}: {'removed' if delete else 'nothing removed; add --delete'}")


def _size(num_bytes: int) -> str:
    power = min(max(len(str(num_bytes)) - 1, 0) // 3, 4)
    return f"{num_bytes / 1000**power:,.{1 if power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


if __name__ == "__main__":
    main()
