"""The report's files: what they hold, that hostile text stays text, and that the page fetches nothing."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.metrics import METHODS, build_results
from inbol_ray.evaluation.seeds import summarise_seeds
from inbol_ray.images import read_image_bytes
from inbol_ray.report.gallery import choose_examples, embed_image
from inbol_ray.report.markup import escape
from inbol_ray.report.report import render_seeds_table, render_terminal_table, write_report, write_seeds_report
from inbol_ray.report.wording import duration, headline, number
from inbol_ray.rows import PREDICTION

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\" onload=\"y"
STAGES = [{"stage": "confidence", "wall_s": 61.2}, {"stage": "train_ca_dpo", "wall_s": 3725.0}]
CLASSES = ClassConfig(delta_known=0.7, delta_unknown=0.3)
VOID = {"meta", "img", "br", "path", "rect"}


def _png(width: int = 48, height: int = 48, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 40, 40)).save(buffer, kind)
    return buffer.getvalue()


def _predictions(outcomes: dict[str, list[str]], seed: int = 0, confidences: bool = True, **columns) -> pa.Table:
    """Per method, outcomes of questions 0, 1, ...: every fourth is unanswerable, every second out-of-domain."""
    rows = [
        {
            "id": f"vqav2:test:{i}",
            "benchmark": "vqav2" if i % 2 == 0 else "vizwiz",
            "domain": "in_domain" if i % 2 == 0 else "out_of_domain",
            "method": method,
            "seed": seed,
            "checkpoint": f"digest-of-{method}",
            "images": ["missing.png"],
            "question": f"Question {i}?",
            "gold_answers": ["red"],
            "answerable": i % 4 != 3,
            "response": f"reply {i}",
            "outcome": outcome,
            "unparsed": False,
            "score": float(outcome == "correct"),
            "base_confidence": (i % 11) / 10 if confidences and i % 4 != 3 else None,
        }
        | columns
        for method, given in outcomes.items()
        for i, outcome in enumerate(given)
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTION)


def _mixed(seed: int = 0, **options) -> pa.Table:
    cycle = ["correct", "wrong", "refused", "correct", "wrong", "error", "correct"]
    return _predictions({m: [cycle[(i + k) % 7] for i in range(88)] for k, m in enumerate(METHODS)}, seed, **options)


def _write(table: pa.Table, tmp_path: Path, confidences: list[float] = (0.0, 0.3, 0.5, 0.7, 1.0), **options) -> str:
    results = build_results(table, STAGES, name=options.pop("name", "tiny"), provenance={"versions": {"ray": "2.60.0"}})
    write_report(results, table, list(confidences), tmp_path, **options)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class _Balance(HTMLParser):
    """Collects tags and attributes, and checks that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def _parse(page: str) -> _Balance:
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_files_round_trip(tmp_path):
    table = _mixed()
    _write(table, tmp_path)
    stored = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert stored == build_results(table, STAGES, name="tiny", provenance={"versions": {"ray": "2.60.0"}})
    assert pq.read_table(tmp_path / "predictions.parquet").equals(table)


def test_page_is_well_formed_and_fetches_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(_png())
    page = _write(_mixed(images=[str(tmp_path / "a.png")]), tmp_path / "out")
    parsed = _parse(page)
    assert not parsed.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    for _, name, value in parsed.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "href", "srcset") or value.startswith("data:image/png;base64,")
    assert "default-src 'none'" in page


@pytest.mark.parametrize("column", ["response", "question", "benchmark", "checkpoint", "method"])
def test_hostile_text_stays_text(column, tmp_path):
    page = _write(_predictions({"original": ["wrong"] * 8}, **{column: HOSTILE}), tmp_path)
    parsed = _parse(page)
    assert "script" not in parsed.tags and "<script" not in page.lower()
    assert not [entry for entry in parsed.attributes if entry[1] in ("onerror", "onload")]
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_hostile_names_gold_answers_and_provenance(tmp_path):
    table = _predictions({"original": ["wrong"] * 8}, gold_answers=[HOSTILE])
    results = build_results(table, [{"stage": HOSTILE, "wall_s": 1.0}], name=HOSTILE, provenance={HOSTILE: HOSTILE})
    write_report(results, table, [0.5], tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "script" not in _parse(page).tags and page.count("&lt;script&gt;") >= 5


def test_control_characters_do_not_reach_the_page(tmp_path):
    page = _write(_predictions({"original": ["wrong"] * 8}, response="a\x00b\x1bc"), tmp_path)
    assert "a\ufffdb\ufffdc" in page
    assert escape("\ud800") == "\ufffd"


def test_page_without_confidences_stages_or_replies(tmp_path):
    table = _mixed(confidences=False)
    page = _write(table, tmp_path, confidences=[])
    assert "What the original model knows" not in page and "Does it refuse" not in page
    empty = PREDICTION.empty_table()
    write_report(build_results(empty, []), empty, [], tmp_path / "empty")
    assert "nothing to compare" in (tmp_path / "empty" / "report.html").read_text(encoding="utf-8")
    errors = _predictions({"original": ["error"] * 4})
    _parse(_write(errors, tmp_path / "errors"))


def test_all_refused_has_no_accuracy_when_answered(tmp_path):
    table = _predictions({"idk_it": ["refused"] * 16})
    page = _write(table, tmp_path)
    _parse(page)
    lines = render_terminal_table(build_results(table, [])).splitlines()
    assert (
        next(line for line in lines if line.startswith("IDK-IT")).split()[1:]
        == ["0.0", "100.0", "0.0", "32.4", "-"] * 2
    )


def test_terminal_table_by_hand():
    table = _predictions({"original": ["correct", "wrong", "refused", "refused"]})
    text = render_terminal_table(build_results(table, STAGES))
    row = next(line for line in text.splitlines() if line.startswith("Original"))
    # In-domain: questions 0 correct and 2 refused. Out-of-domain: 1 wrong and 3 refused. A resample of the first has an
    # S_trust of 0, 50 or 100, each too often to be left out of the interval: half its width is 50.
    assert row.split() == ["Original", "50.0", "50.0", "50.0", "50.0", "100.0", "0.0", "50.0", "-50.0", "50.0", "0.0"]
    assert "1 min 01 s" in text and "1 h 02 min" in text and text.isascii()


def _pair(idk_it: list[str], ca_dpo: list[str], repeat: int = 60) -> dict:
    return build_results(_predictions({"idk_it": idk_it * repeat, "ca_dpo": ca_dpo * repeat}), [])


def test_headline_claims_a_win_only_where_the_interval_leaves_out_zero():
    won, evidence = headline(_pair(["wrong", "wrong"], ["correct", "correct"]))
    assert won == "CA-DPO beats IDK-IT: S_trust 100.0 against −100.0 in-domain, 100.0 against −100.0 out-of-domain."
    assert "+200.0 points in-domain" in evidence and "paired over 60 questions" in evidence
    lost, evidence = headline(_pair(["correct", "correct"], ["wrong", "wrong"]))
    assert lost.startswith("CA-DPO does not beat IDK-IT: ") and "by IDK-IT." in evidence
    tied, _ = headline(_pair(["wrong", "correct", "correct", "wrong"], ["correct", "wrong", "wrong", "correct"]))
    assert tied.startswith("CA-DPO and IDK-IT cannot be told apart: ")
    split, _ = headline(_pair(["wrong", "correct"], ["correct", "wrong"]))
    assert split.startswith("CA-DPO beats IDK-IT in-domain: ") and "out-of-domain behind, −100.0 against 100.0" in split


def test_headline_names_matched_baseline_and_falls_back():
    table = _predictions({"idk_it": ["wrong"] * 40, "idk_it_matched": ["correct"] * 40, "ca_dpo": ["refused"] * 40})
    _, evidence = headline(build_results(table, []))
    assert "given the same compute, CA-DPO is behind in-domain (−100.0" in evidence
    alone, evidence = headline(build_results(_predictions({"original": ["wrong"] * 4, "sft": ["correct"] * 4}), []))
    assert alone.startswith("SFT has the highest S_trust in-domain, 100.0, against −100.0") and evidence == ""


def test_several_seeds_are_compared_over_seeds(tmp_path):
    table = pa.concat_tables([_mixed(seed) for seed in (1, 2, 3)])
    _, evidence = headline(build_results(table, []))
    assert "paired over 3 seeds" in evidence
    page = _write(table, tmp_path)
    _parse(page)
    assert "CA-DPO, seed 3" in page and "seeds 1, 2, 3" in page


def test_examples_do_not_depend_on_replies():
    table = _mixed()
    groups = choose_examples(table, CLASSES)
    assert {group: len(examples) for group, examples in groups.items()} == dict.fromkeys(
        ("known", "mixed", "unknown", "unanswerable"), 6
    )
    assert {example.domain for example in groups["known"]} == {"in_domain", "out_of_domain"}
    assert [reply[0] for reply in groups["known"][0].replies] == list(METHODS)
    changed = table.set_column(table.column_names.index("outcome"), "outcome", pa.array(["wrong"] * table.num_rows))
    again = choose_examples(changed.take(list(range(table.num_rows))[::-1]), CLASSES)
    assert {g: [e.id for e in x] for g, x in again.items()} == {g: [e.id for e in x] for g, x in groups.items()}


def test_images_from_files_and_byte_ranges(tmp_path):
    small, large = _png(), _png(200, 120, "JPEG")
    (tmp_path / "all.bin").write_bytes(b"junk" + small + large)
    path = f"{tmp_path / 'all.bin'}#4:{len(small)}"
    assert read_image_bytes(path) == small
    picture = embed_image(path, read_image_bytes)
    assert picture.pixelated and picture.uri.startswith("data:image/png;base64,iVBOR")
    picture = embed_image(f"{tmp_path / 'all.bin'}#{4 + len(small)}:{len(large)}", read_image_bytes)
    assert not picture.pixelated and picture.uri.startswith("data:image/jpeg;base64,")


def test_other_formats_are_converted():
    picture = embed_image("x", lambda _: _png(20, 20, "WEBP"))
    assert picture.pixelated and picture.uri.startswith("data:image/jpeg;base64,")


def test_what_is_transparent_is_white_on_the_page():
    buffer = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(buffer, "WEBP", lossless=True)
    picture = embed_image("x", lambda _: buffer.getvalue())
    shown = Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))
    assert shown.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize("content", [b"", b"<svg onload='x'/>", b"\x89PNG\r\n\x1a\nbroken", b"\xff\xd8\xff\xe0cut"])
def test_unreadable_images_become_a_placeholder(content, tmp_path):
    assert embed_image("x", lambda _: content) is None
    page = _write(_predictions({"original": ["wrong"] * 8}), tmp_path, read_image=lambda _: content)
    assert "image not available" in page and "<img" not in page


def test_large_images_are_made_smaller():
    noise = Image.effect_noise((1200, 900), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    picture = embed_image("x", lambda _: buffer.getvalue())
    assert len(picture.uri) < 500_000 < len(buffer.getvalue())


def test_seeds_report(tmp_path, capsys):
    summary = summarise_seeds([build_results(_mixed(seed), [], name="tiny") for seed in (1, 2)])
    table = write_seeds_report(summary, tmp_path)
    assert capsys.readouterr().out.strip() == table.strip() and table.isascii()
    assert json.loads((tmp_path / "seeds.json").read_text(encoding="utf-8")) == summary
    markdown = (tmp_path / "seeds.md").read_text(encoding="utf-8")
    assert "| CA-DPO | S_trust |" in markdown and "| --- | --- | ---: |" in markdown
    assert "CA-DPO - IDK-IT (matched)" in table and "95% interval" in table


def test_single_seed_table_has_no_interval():
    row = next(
        line
        for line in render_seeds_table(summarise_seeds([build_results(_mixed(7), [])])).splitlines()
        if line.startswith("Original")
    )
    assert "seed 7" in render_seeds_table(summarise_seeds([build_results(_mixed(7), [])])) and row.endswith("-")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (3599.7, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_numbers():
    assert [number(-6.5), number(-0.01), number(3.25, True), number(None)] == ["−6.5", "0.0", "+3.2", "–"]
