import ast
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
        ("cause: dns error\nfailed to lookup address information", "index could not be reached"),
        ("cause: tcp connect error: Connection refused (os error 111)", "index could not be reached"),
        (
            "Could not find a version that satisfies the requirement uv (from versions: none)",
            "index could not be reached",
        ),
        ("Permission denied: '.venv'", "not writable"),
    ],
)
def test_known_failures_get_one_sentence(setup_env, output, expected):
    text = setup_env.explain("install", output)
    assert expected in text and "\n" not in text


def test_unknown_failures_show_their_last_lines(setup_env):
    output = "No solution found: networkx conflicts"
    text = setup_env.explain("install", output)
    assert "index could not be reached" not in text and text.endswith(output)


@pytest.fixture
def checkout(setup_env, tmp_path, monkeypatch):
    """A set-up script whose `.venv` is in a scratch folder and whose steps are recorded instead of run."""
    steps = []
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(setup_env, "VENV", str(tmp_path))
    monkeypatch.setattr(setup_env, "STAMP", str(tmp_path / "stamp"))
    monkeypatch.setattr(setup_env, "PYTHON", sys.executable)
    monkeypatch.setattr(setup_env, "NEEDED_BYTES", 0)
    monkeypatch.setattr(setup_env, "run", lambda title, command: steps.append(command))
    monkeypatch.setenv("INBOL_EXTRA", "cpu")
    return steps


def test_a_second_run_installs_nothing(setup_env, checkout):
    assert setup_env.main() == 0 and ".[all,cpu,test,docs]" in checkout[-1]
    done = len(checkout)
    assert setup_env.main() == 0 and len(checkout) == done
    assert setup_env.fingerprint("gpu") != setup_env.fingerprint("cpu")


def test_an_interrupted_install_is_done_again(setup_env, checkout, monkeypatch, capsys):
    assert setup_env.main() == 0
    finished = setup_env.run

    def interrupt(title, command):
        raise KeyboardInterrupt

    monkeypatch.setattr(setup_env, "fingerprint", lambda extra: "changed")
    monkeypatch.setattr(setup_env, "run", interrupt)
    assert setup_env.main() == 130 and "run the same command again" in capsys.readouterr().err
    monkeypatch.setattr(setup_env, "run", finished)
    done = len(checkout)
    assert setup_env.main() == 0 and len(checkout) > done


def test_a_full_disk_stops_before_anything_is_installed(setup_env, checkout, monkeypatch, capsys):
    monkeypatch.setattr(setup_env, "NEEDED_BYTES", 10**18)
    assert setup_env.main() == 1 and not checkout
    assert "free some space" in capsys.readouterr().err


def test_a_broken_environment_is_made_anew(setup_env, checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(setup_env, "PYTHON", str(tmp_path / "bin" / "python"))
    assert setup_env.main() == 0 and "--clear" in checkout[0]


def test_the_gpu_build_leaves_out_the_pins_it_contradicts(setup_env, checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("INBOL_EXTRA", "gpu")
    assert setup_env.main() == 0 and ".[all,gpu,test,docs]" in checkout[-1]
    text = (tmp_path / "constraints-gpu.txt").read_text()
    assert "apache-tvm-ffi" not in text and "cuda-bindings" not in text
    assert text.startswith("#") and "\ntorch==2.13.0\n" in text and text.endswith("\ncuda-python==13.4.4\n")


def test_bytecode_is_compiled_and_a_failing_step_is_an_error(setup_env, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    setup_env.run("a step", [sys.executable, "-c", "import sys; sys.exit(sys.dont_write_bytecode)"])
    with pytest.raises(setup_env.SetupError, match="a step failed"):
        setup_env.run("a step", [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(setup_env.SetupError, match="a step failed"):
        setup_env.run("a step", ["no-such-program"])


def test_an_unknown_extra_is_named(setup_env, monkeypatch, capsys):
    monkeypatch.setenv("INBOL_EXTRA", "tpu")
    assert setup_env.main() == 1 and "INBOL_EXTRA is 'tpu'" in capsys.readouterr().err


def test_constraints_hold_no_address_and_no_local_version():
    text = (ROOT / "cluster" / "constraints.txt").read_text()
    assert "://" not in text and " @ " not in text
    assert all(re.fullmatch(r"[0-9A-Za-z.!]+", version) for version in pinned().values())


def test_every_dependency_is_pinned_within_its_range():
    """But `gpu`, whose pin of vLLM no CPU set can hold, and `mlflow`, which contradicts the pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = {canonicalize_name(name): version for name, version in pinned().items()}
    asked = [*project["dependencies"]]
    asked += [text for name, texts in extras.items() if name not in ("gpu", "mlflow") for text in texts]
    for requirement in map(Requirement, asked):
        if requirement.name != "inbol-ray":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_every_dependency_has_a_range():
    """A package that is pinned cannot be installed beside anything, and one without an upper end breaks some day."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, texts in [("", project["dependencies"]), *project["optional-dependencies"].items()]:
        for requirement in map(Requirement, texts):
            operators = {part.operator for part in requirement.specifier}
            assert "==" not in operators, requirement
            assert extra == "test" or requirement.name == "inbol-ray" or {">=", "<"} <= operators, requirement
