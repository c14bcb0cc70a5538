import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = ROOT / "cluster" / "setup_env.py"


@pytest.fixture
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", SETUP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pinned() -> dict[str, str]:
    lines = (ROOT / "cluster" / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_an_old_python_can_at_least_read_the_script():
    ast.parse(SETUP.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 8, 1), (3, 10, 0), (3, 14, 0), (2, 7)])
def test_unsupported_pythons_are_named(setup_env, version):
    with pytest.raises(setup_env.SetupError, match=rf"Python {version[0]}\.{version[1]} found, 3.11 to 3.13 needed"):
        setup_env.check_python(version)


def test_supported_pythons_pass(setup_env):
    for minor in (11, 12, 13):
        setup_env.check_python((3, minor, 0))


def test_a_full_disk_is_named(setup_env):
    with pytest.raises(setup_env.SetupError, match=r"2.0 GB free at .*10 GB needed"):
        setup_env.check_disk(2e9)
    setup_env.check_disk(20e9)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("error: No space left on device (os error 28)", "the disk is full"),
        ("dns error: failed to lookup address", "the package index could not be reached"),
        ("something else", "see the last lines below"),
    ],
)
def test_failed_steps_say_how_to_mend_them(setup_env, output, expected):
    assert expected in setup_env.explain("install", output) and output in setup_env.explain("install", output)


def test_a_second_run_installs_nothing(setup_env, tmp_path, monkeypatch):
    installed = []
    monkeypatch.setattr(setup_env, "STAMP", str(tmp_path / "stamp"))
    monkeypatch.setattr(setup_env, "install", lambda extra: installed.append(extra))
    monkeypatch.setenv("INBOL_EXTRA", "cpu")
    assert setup_env.main() == 0 and installed == ["cpu"]
    (tmp_path / "stamp").write_text(setup_env.fingerprint("cpu"))
    assert setup_env.main() == 0 and installed == ["cpu"]
    assert setup_env.fingerprint("gpu") != setup_env.fingerprint("cpu")


def test_constraints_hold_no_address_and_no_local_version():
    text = (ROOT / "cluster" / "constraints.txt").read_text()
    assert "://" not in text and " @ " not in text
    assert all(re.fullmatch(r"[0-9A-Za-z.!]+", version) for version in pinned().values())


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = {name.lower().replace("_", "-") for name in pinned()}
    for requirement in [*project["dependencies"], *extras["cpu"], *extras["test"]]:
        assert re.split(r"[\[=<>~ ]", requirement)[0].lower() in pins
