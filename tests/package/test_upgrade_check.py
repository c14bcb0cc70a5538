import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cluster" / "upgrade_check.py"


@pytest.fixture(scope="module")
def upgrade_check():
    spec = importlib.util.spec_from_file_location("upgrade_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_versions_are_read_from_pins_and_from_a_freeze(upgrade_check):
    text = "# The set: a==b\nPyYAML==6.0.3\nruamel.yaml_x==1.0 ; python_version < '3.12'\n-e file:///somewhere\n\n"
    assert upgrade_check.read_versions(text) == {"pyyaml": "6.0.3", "ruamel-yaml-x": "1.0"}


def test_only_what_both_have_in_different_versions_is_a_change(upgrade_check):
    tested, newest = {"ray": "2.60.0", "torch": "2.13.0", "old": "1"}, {"ray": "2.61.0", "torch": "2.13.0", "new": "1"}
    assert upgrade_check.describe_changes(tested, newest) == ["ray: 2.60.0 is tested, 2.61.0 is the newest allowed"]


def test_the_verdict_says_what_to_do_next(upgrade_check):
    assert "can become the pins" in upgrade_check.verdict([])
    assert upgrade_check.verdict(["imports", "tests"]).startswith("broke: imports, tests. Mend the code, or lower")
    tested = upgrade_check.read_versions((SCRIPT.parent / "constraints.txt").read_text())
    assert len(tested) > 200 and "ray" in tested


def test_the_import_check_names_what_broke_and_fails(upgrade_check, tmp_path):
    package = tmp_path / "inbol_ray"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "fine.py").write_text("")

    def run():
        command = [sys.executable, "-c", upgrade_check.IMPORT_ALL]
        return subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)

    assert run().returncode == 0
    (package / "broken.py").write_text("from numpy import no_such_name")
    done = run()
    assert done.returncode == 1 and done.stdout.startswith("inbol_ray.broken: ImportError: ")
