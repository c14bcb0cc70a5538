"""`tables.md`, the tables of an evaluation: content of `benchmarks.json` -> Markdown, and the grids that the page shares.

Each table is an empty text where there is nothing to show. Percent throughout.
"""

from collections.abc import Mapping, Sequence

from inbol_ray.evaluation.paper_tables import PAPER_COUNTS
from inbol_ray.evaluation.paper_tables import SCORES as PAPER_SCORES
from inbol_ray.evaluation.refusal_benchmarks import BENCHMARKS
from inbol_ray.evaluation.rule_scores import RULES
from inbol_ray.judging.agreement import POINTS_APART
from inbol_ray.report.wording import MINUS, method_label, number
from inbol_ray.text_table import markdown_table

_DASH = "\N{EN DASH}"

RULES_TITLE = "Acc under each rule of scoring"
RULES_NOTE = (
    "Percent. `ours` and `official` compare short answers; `free_text` also finds the answer in a sentence. Only free_text: "
    "replies that it alone calls right; not free_text: replies that another rule calls right and it does not."
)
_MMUPD_KINDS = ("mmaad", "mmiasd", "mmivqd")
LABELS = {
    name: f"MM-UPD {kind[2:].upper()}, {setting}"
    for name in BENCHMARKS
    for kind, _, setting in [name.partition("_")]
    if kind in _MMUPD_KINDS
} | {
    "humblebench": "HumbleBench",
    "humblebench_e": "HumbleBench-E (None of the above is right)",
    "humblebench_gn": "HumbleBench-GN (noise)",
    "mohobench": "MoHoBench",
    "tubench_ucr": "TUBench UCR",
    "tubench_uvqa": "TUBench UVQA",
    "tubench_ugeoqa": "TUBench UGeoQA",
    "tubench_utabmwp": "TUBench UTabMWP",
    "kie_hvqa": "KIE-HVQA",
}
"""Benchmark of refusal -> what the table calls it."""
_REFUSAL_NOTE = (
    "Percent. Right: answered correctly, or refused where nothing can be answered; as due: answered or refused as the "
    "question can be, whatever the answer; F1: of refusing, for questions that cannot be answered; pairs: of questions "
    "that count only together."
)
_REFUSAL_RATES = {
    "right_rate": "right",
    "answerable_acc": "Acc, answerable",
    "answerable_refr": "RefR, answerable",
    "unanswerable_refr": "RefR, unanswerable",
    "answerability_acc": "as due",
    "refusal_f1": "F1 of refusing",
    "pairs_right_rate": "pairs right",
}
_USAGE_COLUMNS = {
    "requests": "Requests",
    "rejected": "Rejected",
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "untold": "Without token numbers",
    "cut_off": "Cut off",
    "told_refusals": "Refusals told by the server",
}
_AGREEMENT_HEADS = ("Method", "Judged", "both yes", "rule alone", "judge alone", "both no", "no verdict", "kappa")
_AGREEMENT_TITLES = {"refusal": "Does the reply refuse?", "correctness": "Is the answer right?"}


def render_tables(tables: Sequence[Mapping]) -> str:
    """The paper's tables: one row per method, `ours (paper, difference)` for Acc / RefR / S_trust in each cell."""
    parts = ["Percent: Acc / RefR / S_trust; in brackets the paper's figures and ours minus theirs."]
    for table in tables:
        columns = list(dict.fromkeys(column for row in table["rows"] for column in row["cells"]))
        if not columns:
            continue
        grid = [["", *columns]]
        grid += [[row["method"], *(_cell_text(row["cells"].get(name)) for name in columns)] for row in table["rows"]]
        parts += [
            f"## Table {table['table']}: {table['title']}",
            markdown_table(grid),
            *table["notes"],
            *_count_notes(table),
        ]
    return "\n\n".join(parts) + "\n"


def _cell_text(cell: Mapping | None) -> str:
    if cell is None:
        return ""
    text = _three(cell["ours"])
    if any(value is not None for value in cell["published"].values()):
        text += f" ({_three(cell['published'])}; {_three(cell['difference'], '+')})"
    return text


def _three(figures: Mapping[str, float | None], sign: str = "") -> str:
    return " / ".join("-" if figures[name] is None else format(figures[name], f"{sign}.2f") for name in PAPER_SCORES)


def _count_notes(table: Mapping) -> list[str]:
    """One sentence for each column that has not as many questions as the paper's."""
    counts = {column: cell["num_questions"] for row in table["rows"] for column, cell in row["cells"].items()}
    return [
        f"{column}: {count:,} questions here, {PAPER_COUNTS[column]:,} in the paper."
        for column, count in counts.items()
        if column in PAPER_COUNTS and count != PAPER_COUNTS[column]
    ]


def render_refusal_table(table: Mapping) -> str:
    """Benchmarks of refusal, and under the table the rates by their own types of question."""
    if not table["rows"]:
        return ""
    grid = [["", "benchmark", "questions", *_REFUSAL_RATES.values()]]
    types = []
    for row in table["rows"]:
        label = LABELS[row["benchmark"]]
        rates = (_rate(row[name]) for name in _REFUSAL_RATES)
        grid.append([row["method"], label, f"{row['num_questions']:,}", *rates])
        if row["by_type"]:
            listed = ", ".join(f"{name} {_rate(rate)}" for name, rate in row["by_type"].items())
            types.append(f"{label}, {row['method']}, right by type: {listed}.")
        if row["own"]:
            listed = ", ".join(f"{name.replace('_', ' ')} {_rate(rate)}" for name, rate in row["own"].items())
            types.append(f"{label}, {row['method']}: {listed}.")
    return "\n\n".join([f"## {table['title']}", _REFUSAL_NOTE, markdown_table(grid, left=(0, 1)), *types]) + "\n"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2f}"


def render_rules_table(rows: Sequence[Mapping]) -> str:
    """Acc under each rule of scoring."""
    if not rows:
        return ""
    grid = [["", "benchmark", "replies", *RULES, "only free_text", "not free_text"]]
    for row in rows:
        acc = (f"{row['acc'][rule]:.2f}" for rule in RULES)
        counts = (f"{row[name]:,}" for name in ("only_free_text", "not_free_text"))
        grid.append([row["method"], row["benchmark"], f"{row['num_questions']:,}", *acc, *counts])
    return "\n\n".join([f"## {RULES_TITLE}", RULES_NOTE, markdown_table(grid, left=(0, 1))]) + "\n"


def usage_grid(usage: Sequence[Mapping]) -> list[list[str]]:
    """What endpoints were asked, one row per model behind an endpoint."""
    grid = [["Model", *_USAGE_COLUMNS.values(), "Cost"]]
    for row in usage:
        cost = _DASH if row["cost"] is None else f"{row['cost']:,.4f}"
        grid.append([row["model"], *(f"{row[key]:,}" for key in _USAGE_COLUMNS), cost])
    return grid


def render_usage(usage: Sequence[Mapping]) -> str:
    return f"## Endpoints\n\n{markdown_table(usage_grid(usage))}\n" if usage else ""


def agreement_grids(compared: Mapping | None) -> dict[str, list[list[str]]]:
    """Title -> grid of each table on rules and judge (`compare_with_judge`); empty without verdicts."""
    if not compared or not compared["agreement"]:
        return {}
    grids = {}
    for kind, title in _AGREEMENT_TITLES.items():
        grid = [list(_AGREEMENT_HEADS)]
        for row in [row for row in compared["agreement"] if row["kind"] == kind]:
            counts = [row[name] for name in ("both", "rule_only", "judge_only", "neither", "no_verdict")]
            kappa = _DASH if row["kappa"] is None else f"{row['kappa']:.2f}".replace("-", MINUS)
            grid.append([method_label(row["method"]), *(f"{count:,}" for count in (sum(counts), *counts)), kappa])
        if len(grid) > 1:
            grids[title] = grid
    if compared["scores"]:
        grid = [["Method", "Benchmark", "Acc", "RefR", "S_trust"]]
        for row in compared["scores"]:
            pairs = (f"{number(row['rule'][name])} / {number(row['judge'][name])}" for name in PAPER_SCORES)
            grid.append([method_label(row["method"]), row["benchmark"], *pairs])
        grids[f"Scores that differ by more than {POINTS_APART:g} point, by the rules / with the verdicts"] = grid
    return grids


def render_agreement(compared: Mapping | None) -> str:
    """How far rules and judge agree."""
    grids = agreement_grids(compared)
    if not grids:
        return ""
    parts = [f"## Rules and judge ({compared['judge']}, prompt {compared['prompt_version']})"]
    parts += [part for title, grid in grids.items() for part in (title, markdown_table(grid))]
    return "\n\n".join(parts) + "\n"
