"""Words and numbers of the report: method names, formatted figures, the finding as a sentence.

Content of `results.json` -> text, for the terminal and the page alike. Plain text: templates escape it (`markup`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inbol_ray.evaluation.metrics import DOMAINS, method_order
from inbol_ray.evaluation.seeds import summarise_seeds
from inbol_ray.method.intervals import Interval

MINUS = "\N{MINUS SIGN}"
SCORE_HEADS = {"acc": "Acc", "refr": "RefR", "s_trust": "S_trust", "answered_acc": "Ans.Acc"}
DOMAIN_LABELS = {"in_domain": "in-domain", "out_of_domain": "out-of-domain"}
_METHOD_LABELS = {
    "original": "Original",
    "refusal_prompt": "Refusal prompt",
    "sft": "SFT",
    "idk_it": "IDK-IT",
    "idk_it_matched": "IDK-IT (matched)",
    "ca_dpo": "CA-DPO",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """S_trust (or Acc) of one method minus another's, in percentage points; `basis` says over what it is paired."""

    value: float
    interval: Interval | None
    basis: str

    @property
    def verdict(self) -> int:
        """+1 or -1 where the 95% interval leaves out zero, else 0."""
        if self.interval is None:
            return 0
        return (self.interval[0] > 0) - (self.interval[1] < 0)


def method_label(method: str) -> str:
    return _METHOD_LABELS.get(method, method)


def number(value: float | None, signed: bool = False) -> str:
    """One decimal with a true minus sign; an en dash for None."""
    if value is None:
        return "\N{EN DASH}"
    text = f"{value:+.1f}" if signed else f"{value:.1f}"
    return ("0.0" if float(text) == 0 else text).replace("-", MINUS)


def span(interval: Interval | Sequence[float] | None, signed: bool = False) -> str:
    """`low to high`, or an empty string."""
    return f"{number(interval[0], signed)} to {number(interval[1], signed)}" if interval else ""


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def seeds_of(results: Mapping) -> list[int]:
    return sorted({row["seed"] for row in results["results"]})


def mean_scores(results: Mapping, domain: str) -> dict[str, dict[str, float]]:
    """For each method with replies in `domain`: acc, refr, s_trust in percent, means over the seeds present."""
    scores: dict[str, dict[str, float]] = {}
    for method in method_order(row["method"] for row in results["results"]):
        rows = [r for r in results["results"] if (r["method"], r["domain"]) == (method, domain) and r["num_questions"]]
        if rows:
            scores[method] = {key: sum(row[key] for row in rows) / len(rows) for key in ("acc", "refr", "s_trust")}
    return scores


def differences(results: Mapping, metric: str = "s_trust") -> dict[tuple[str, str, str], Difference]:
    """(method, baseline, domain) -> Difference: paired over questions for one seed, over seeds for several."""
    seeds = seeds_of(results)
    if len(seeds) > 1:
        return {
            (row["method"], row["baseline"], row["domain"]): Difference(
                row["mean"], tuple(row["interval"]) if row["interval"] else None, f"paired over {len(seeds)} seeds"
            )
            for row in summarise_seeds([results])["differences"]
            if row["metric"] == metric
        }
    return {
        (row["method"], row["baseline"], row["domain"]): Difference(
            row["difference"], tuple(row["interval"]), f"paired over {row['num_questions']:,} questions"
        )
        for row in results["comparisons"]
        if row["metric"] == metric and row["difference"] is not None
    }


def headline(results: Mapping) -> tuple[str, str]:
    """The main finding in a sentence, and the evidence for it; both follow from the numbers alone.

    The claim is CA-DPO against IDK-IT in S_trust. It counts as better or worse only where the 95% interval of the
    paired difference leaves out zero. Without these two methods, the best method is compared with the original.
    """
    found = differences(results)
    verdicts = {domain: found[key] for domain in DOMAINS if (key := ("ca_dpo", "idk_it", domain)) in found}
    if not verdicts:
        return _best_against_original(results), ""
    claim = _claim(results, verdicts)
    return f"{claim}.", " ".join([_evidence(verdicts), *_context(results, found)])


def _claim(results: Mapping, verdicts: Mapping[str, Difference]) -> str:
    """`CA-DPO beats IDK-IT: S_trust 30.1 against 25.2 in-domain, ...`, one verdict at a time where they differ."""
    words = {1: "CA-DPO beats IDK-IT", 0: "CA-DPO and IDK-IT cannot be told apart", -1: "CA-DPO does not beat IDK-IT"}
    later = {1: "ahead", 0: "not told apart", -1: "behind"}
    figures = {}
    for domain in verdicts:
        scores = mean_scores(results, domain)
        ours, theirs = (number(scores[method]["s_trust"]) for method in ("ca_dpo", "idk_it"))
        figures[domain] = f"{ours} against {theirs}"
    first, *rest = verdicts
    claim = f"{words[verdicts[first].verdict]}"
    if any(verdicts[domain].verdict != verdicts[first].verdict for domain in rest):
        claim += f" {DOMAIN_LABELS[first]}: S_trust {figures[first]}"
        return claim + "".join(f"; {DOMAIN_LABELS[d]} {later[verdicts[d].verdict]}, {figures[d]}" for d in rest)
    return f"{claim}: S_trust " + ", ".join(f"{figures[domain]} {DOMAIN_LABELS[domain]}" for domain in verdicts)


def _evidence(verdicts: Mapping[str, Difference]) -> str:
    parts = []
    for domain, difference in verdicts.items():
        interval = f"95% interval {span(difference.interval, signed=True)}, " if difference.interval else ""
        parts.append(f"{number(difference.value, True)} points {DOMAIN_LABELS[domain]} ({interval}{difference.basis})")
    return f"The difference is {' and '.join(parts)}."


def _context(results: Mapping, found: Mapping[tuple[str, str, str], Difference]) -> list[str]:
    """What a reader should know beside the claim: the compute-matched baseline, the original, the best method."""
    sentences = []
    if matched := found.get(("ca_dpo", "idk_it_matched", "in_domain")):
        words = {1: "CA-DPO is ahead", 0: "no difference is shown", -1: "CA-DPO is behind"}[matched.verdict]
        detail = f"{number(matched.value, True)}, {span(matched.interval, signed=True)}"
        sentences.append(f"Against IDK-IT given the same compute, {words} in-domain ({detail.rstrip(', ')}).")
    scores = mean_scores(results, "in_domain")
    if "original" in scores:
        sentences.append(f"The original model scores {number(scores['original']['s_trust'])} in-domain.")
    for domain in DOMAINS:
        if scores := mean_scores(results, domain):
            best = max(scores, key=lambda method: scores[method]["s_trust"])
            if best != "ca_dpo":
                value = number(scores[best]["s_trust"])
                sentences.append(f"The highest S_trust {DOMAIN_LABELS[domain]} is {value}, by {method_label(best)}.")
    return sentences


def _best_against_original(results: Mapping) -> str:
    for domain in DOMAINS:
        if scores := mean_scores(results, domain):
            best = max(scores, key=lambda method: scores[method]["s_trust"])
            text = f"{method_label(best)} has the highest S_trust {DOMAIN_LABELS[domain]}, "
            text += number(scores[best]["s_trust"])
            if "original" in scores and best != "original":
                text += f", against {number(scores['original']['s_trust'])} for the original model"
            return text + "."
    return "No question was answered or refused, so there is nothing to compare."


def order_sentence(change: Mapping) -> str:
    """`Below \u03bb = 0.61 SFT is ahead of IDK-IT, above it IDK-IT.`, of a row of `penalty.order_changes`."""
    below, above = (method_label(change[key]) for key in ("ahead_below", "ahead_above"))
    return f"Below \u03bb = {change['penalty']:.2f} {below} is ahead of {above}, above it {above}."
