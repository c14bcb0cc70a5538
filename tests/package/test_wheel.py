"""A release: the wheel holds all that is needed without a checkout, and its command runs from a clean environment."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("inbol_ray", "jobs", "serve", "pyproject.toml", "setup.py", "README.md", "LICENSE")
PYTHON_FILES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "inbol_ray").rglob("*.py")}
PAGES = {
    path.relative_to(ROOT).as_posix()
    for ending in ("html", "css", "js", "npz")
    for path in (ROOT / "inbol_ray").rglob(f"*.{ending}")
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: setuptools keeps old files in `build/` of the folder it builds in."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PARTS:
        part = ROOT / name
        copy = shutil.copytree if part.is_dir() else shutil.copy
        copy(part, folder / name, **({"ignore": shutil.ignore_patterns("__pycache__")} if part.is_dir() else {}))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--wheel-dir", "dist", "."], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (folder / "dist").glob("*.whl")
    return path


def test_it_holds_code_jobs_configurations_pages_and_weights(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = PYTHON_FILES | PAGES | {"inbol_ray/serving/vllm_logging.json"}
    for folder, pattern in (("jobs", "*.py"), ("jobs/configs", "*.yaml"), ("serve", "*.*")):
        wanted |= {f"inbol_ray/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / folder).glob(pattern)}
    assert "inbol_ray/scoring/refusal_weights.npz" in wanted and "inbol_ray/jobs/configs/demo.yaml" in wanted
    assert sorted(wanted - names) == []


def test_it_holds_nothing_else(wheel):
    strange = [name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith(("inbol_ray/", "inbol_ray-"))]
    assert strange == []


def test_its_command_runs_in_a_clean_environment(wheel, tmp_path):
    """The packages it needs come from this environment, which is too large to install anew; the code from the wheel."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, env=outside)
    [site] = (tmp_path / "env").glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")

    def run(*options: str) -> str:
        command = [str(python.with_name("inbol-ray")), *options]
        done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "--training.NAME." in run("pipeline", "--help")
    assert str(site / "inbol_ray" / "jobs" / "configs") in run()
    code = "import inbol_ray; print(inbol_ray.__file__, inbol_ray.detect_refusal('I cannot tell.').refused)"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, env=outside, capture_output=True, text=True)
    assert done.stdout.split() == [str(site / "inbol_ray" / "__init__.py"), "True"]
