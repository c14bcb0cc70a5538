"""The command `inbol-ray JOB [options]`: the same as `python jobs/JOB.py [options]`, and `serve` is serve/app.py.

The jobs are files. In a checkout they are in `jobs/` and `serve/` beside this package; a wheel holds both inside it.
"""

import ast
import difflib
import runpy
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).parent
_LONGEST = 105
"""Characters of a job's description in the list."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a job, as its file would. Without one, or with --help, list them; an unknown job exits with 2, and one whose
    packages are not installed with 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    jobs = find_jobs()
    if not arguments or arguments[0] in ("--help", "-h"):
        print(render_jobs(jobs))
        return
    name = arguments[0]
    if name not in jobs:
        near = difflib.get_close_matches(name.replace("-", "_"), jobs, 3)
        meant = f"did you mean {' or '.join(near)}?" if near else "`inbol-ray` alone lists them"
        print(f"error: {name}: unknown job; {meant}", file=sys.stderr)
        raise SystemExit(2)
    path = str(jobs[name])
    sys.argv = [path, *arguments[1:]]
    try:
        runpy.run_path(path, run_name="__main__")
    except ModuleNotFoundError as error:
        if (error.name or "inbol_ray").partition(".")[0] == "inbol_ray":
            raise
        print(
            f"error: {name} needs the package {error.name}, which is not installed: pip install 'inbol-ray[all,cpu]', "
            "or [all,gpu] for vLLM's CUDA build",
            file=sys.stderr,
        )
        raise SystemExit(1) from None


def files_root(package: Path = PACKAGE) -> Path:
    """The folder that has `jobs` and `serve`: the package's own in a wheel, the checkout's elsewhere."""
    return package if (package / "jobs").is_dir() else package.parent


def find_jobs(root: Path | None = None) -> dict[str, Path]:
    """Job's name -> its file, by name. `root` has the folders `jobs` and `serve`."""
    root = root or files_root()
    files = {path.stem: path for path in (root / "jobs").glob("*.py")} | {"serve": root / "serve" / "app.py"}
    return dict(sorted(files.items()))


def render_jobs(jobs: dict[str, Path]) -> str:
    """One line per job, from the first sentence of its file, and where the shipped configurations are."""
    width = max(map(len, jobs))
    lines = [f"  {name:<{width}}  {first_sentence(path)}" for name, path in jobs.items()]
    configs = files_root() / "jobs" / "configs"
    return "\n".join(
        [
            "usage: inbol-ray JOB [options]     inbol-ray JOB --help lists the options",
            "",
            *lines,
            "",
            f"Configurations to start from, for --config, in {configs}:",
            "  " + ", ".join(sorted(path.name for path in configs.glob("*.yaml"))),
        ]
    )


def first_sentence(path: Path) -> str:
    """The first sentence of a file's docstring, on one line."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
    return textwrap.shorten(text.partition(". ")[0].removesuffix("."), _LONGEST, placeholder=" ...")


if __name__ == "__main__":
    main()
