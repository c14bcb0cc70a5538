"""What breaks with the newest packages that pyproject.toml allows (`make upgrade-check`).

A fresh environment in build/upgrade, installed without the pins -> the versions that differ from the tested ones, every
module of the package imported, the fast tests. Exits 1 where something broke. `.venv` and the pins stay as they are.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / "build" / "upgrade"
FAST_TESTS = ("tests/method", "tests/scoring", "tests/config", "tests/package", "tests/training/test_tracking.py")
IMPORT_ALL = """
import importlib, pkgutil, inbol_ray
def broken(name):
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
        return True
names = [module.name for module in pkgutil.walk_packages(inbol_ray.__path__, "inbol_ray.", onerror=lambda name: None)]
raise SystemExit(any([broken(name) for name in names]))
"""


def read_versions(text: str) -> dict[str, str]:
    """`name==version` lines, as in a constraints file or `uv pip freeze`, by name in its canonical form."""
    pairs = (line.split(";")[0].strip().split("==") for line in text.splitlines() if "==" in line and line[0] != "#")
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in pairs}


def describe_changes(tested: dict[str, str], newest: dict[str, str]) -> list[str]:
    """One line per package that both have in different versions, by name."""
    return [
        f"{name}: {tested[name]} is tested, {newest[name]} is the newest allowed"
        for name in sorted(tested.keys() & newest.keys())
        if tested[name] != newest[name]
    ]


def verdict(broken: list[str]) -> str:
    """What a reader does next; `broken` holds the names of the steps that failed."""
    if not broken:
        return "nothing broke: the versions above can become the pins of cluster/constraints.txt"
    return (
        f"broke: {', '.join(broken)}. Mend the code, or lower the upper end of the range in pyproject.toml for the package "
        "that the lines above name"
    )


def main() -> int:
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(ENVIRONMENT / "bin" / "python")
    subprocess.run(
        [uv, "venv", "--quiet", "--seed", "--clear", "--python", sys.executable, str(ENVIRONMENT)], check=True
    )
    print("installing the newest versions that pyproject.toml allows (6 GB, minutes) ...", flush=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, "--override", "cluster/overrides.txt"]
    installed = subprocess.run([*install, "--upgrade", "--editable", ".[all,cpu,test,docs]"], cwd=ROOT)
    if installed.returncode:
        print(verdict(["installation"]))
        return 1
    freeze = subprocess.run([uv, "pip", "freeze", "--python", python], capture_output=True, text=True, check=True)
    tested = read_versions((ROOT / "cluster" / "constraints.txt").read_text())
    print(
        "\n".join(describe_changes(tested, read_versions(freeze.stdout)) or ["no version differs from the tested set"])
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    broken = []
    with tempfile.TemporaryDirectory() as elsewhere:
        if subprocess.run([python, "-c", IMPORT_ALL], cwd=elsewhere, env=environment).returncode:
            broken.append("imports")
    tests = [python, "-m", "pytest", "-q", "-m", "not slow and not gpu", *FAST_TESTS]
    if subprocess.run(tests, cwd=ROOT, env=environment).returncode:
        broken.append("tests")
    print(verdict(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
