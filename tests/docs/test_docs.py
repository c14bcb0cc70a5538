"""README and docs say what is so: links exist, code runs, generated pages are current, the site builds."""

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "examples/README.md", *sorted(DOCS.glob("*.md"))]
README_BYTES = 9_000


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, DOCS / "_make" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


def test_python_of_the_readme_runs():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "README.md", "exec"), {})
    weights, refused, threshold = printed.getvalue().splitlines()
    assert weights.startswith("['correct', 'refused', 'wrong'] {'weight_correct_refusal': 0.0")
    assert refused == "True"
    assert 0.2 < float(threshold) < 0.4  # all wrong answers have a confidence below 0.3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_exist(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    files = [target for target in targets if target and "://" not in target]
    assert [target for target in files if not (page.parent / target).exists()] == []


def test_configuration_page_is_current():
    fix = "run python docs/_make/configuration.py"
    assert (DOCS / "configuration.md").read_text() == load("configuration").render(), fix


def test_ten_settings_exist_and_are_those_of_the_readme():
    configuration = load("configuration")
    assert len(configuration.TOP) == 10
    readme = (ROOT / "README.md").read_text()
    section, settings = "", set()
    for line in (DOCS / "configuration.md").read_text().partition("## Top level")[2].splitlines():
        if heading := re.match(r"## `(.+)`:", line):
            section = heading[1] + "."
        elif row := re.match(r"\| `(\w+)` \|", line):
            settings.add(section + row[1])
    for name, _ in configuration.TOP:
        assert name in settings
        assert f"`{name}`" in readme


def test_table_and_chart_are_those_of_the_figures():
    demo = load("demo_results")
    figures = json.loads((DOCS / "results/demo.json").read_text())
    fix = "run python docs/_make/demo_results.py"
    assert (DOCS / "img/demo_results.svg").read_text() == demo.render_chart(figures), fix
    for page in (ROOT / "README.md", DOCS / "results.md"):
        assert demo.render_table(figures) in page.read_text(), fix


def test_messages_of_troubleshooting_are_the_codes():
    rows = re.findall(r"^\| (.*?) \| .* \|$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]+ [^`]+)`", row) if quote != "ray job submit"]
    assert len(quoted) >= 30
    sources = [path.read_text() for path in sorted((ROOT / "inbol_ray").rglob("*.py"))]
    nodes = (node for source in sources for node in ast.walk(ast.parse(source)))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    pieces = [piece.strip() for quote in quoted for piece in quote.split("...")]
    assert [piece for piece in pieces if not any(piece in text for text in texts)] == []


def test_site_builds_and_asks_no_other_server(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(list(DOCS.glob("*.md")))
    for page in pages:
        loaded = re.findall(
            r'<(?:script|img|link rel="(?:stylesheet|preconnect)")[^>]*?(?:src|href)="(https?:[^"]+)', page.read_text()
        )
        assert loaded == [], page
    assert "ca_dpo_loss" in (tmp_path / "site/method/index.html").read_text()
