"""`inbol-ray JOB` is `python jobs/JOB.py`."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from inbol_ray import cli

ROOT = Path(__file__).parents[2]
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("*.py"))


def test_every_job_file_is_a_command_and_serve_is_the_server():
    found = cli.find_jobs()
    assert sorted(found) == sorted([*JOBS, "serve"]) and found["serve"] == ROOT / "serve" / "app.py"


def test_alone_it_lists_the_jobs_and_the_configurations(capsys):
    cli.main([])
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert all(any(line.startswith(f"  {job} ") and len(line.split()) > 3 for line in lines) for job in JOBS)
    assert "  pipeline      Run the whole pipeline: data, training, evaluation and report" in lines
    assert str(ROOT / "jobs" / "configs") in text and "demo.yaml, " in text


@pytest.mark.parametrize(("typed", "meant"), [("pipline", "pipeline"), ("export-trl", "export_trl")])
def test_an_unknown_job_names_near_ones(typed, meant, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([typed])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f"error: {typed}: unknown job; did you mean {meant}?\n"


def test_a_job_that_resembles_none_is_told_where_the_list_is(capsys):
    with pytest.raises(SystemExit):
        cli.main(["xyz"])
    assert "`inbol-ray` alone lists them" in capsys.readouterr().err


def test_a_job_gets_its_options_as_its_file_would(monkeypatch):
    seen = []
    monkeypatch.setattr(runpy, "run_path", lambda path, run_name: seen.append((path, run_name, list(sys.argv))))
    monkeypatch.setattr(sys, "argv", ["inbol-ray"])
    cli.main(["compare", "a", "--output_dir", "b"])
    path = str(ROOT / "jobs" / "compare.py")
    assert seen == [(path, "__main__", [path, "a", "--output_dir", "b"])]


def test_help_and_errors_are_those_of_the_file():
    def run(*command: str) -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    for options in (["--help"], ["one_side_only"]):
        assert run("-m", "inbol_ray.cli", "compare", *options) == run("jobs/compare.py", *options)


def test_a_job_whose_package_is_missing_says_which(monkeypatch, tmp_path, capsys):
    job = tmp_path / "job.py"
    monkeypatch.setattr(cli, "find_jobs", lambda: {"job": job})
    monkeypatch.setattr(sys, "argv", ["inbol-ray"])
    job.write_text("import no_such_package")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["job"])
    assert exit_.value.code == 1
    assert "job needs the package no_such_package, which is not installed: pip install" in capsys.readouterr().err
    job.write_text("import inbol_ray.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        cli.main(["job"])


def test_a_wheel_has_the_files_inside_the_package(tmp_path):
    package = tmp_path / "inbol_ray"
    (package / "jobs").mkdir(parents=True)
    assert cli.files_root(package) == package
    assert cli.files_root(tmp_path / "checkout" / "inbol_ray") == tmp_path / "checkout"
