"""The plan's tables, written out."""

from inbol_ray.plan.page import duration, render_what_if, short


def test_other_clusters_beside_the_first():
    text = render_what_if([(1, 7200.0, 2.0), (16, 600.0, 1500.0)], 8, {"sft": 32})
    assert text.splitlines() == [
        "nodes  GPUs    time  speed-up  GPU-h",
        "------------------------------------",
        "    1     8   2.0 h       1.0      2",
        "   16   128  10 min      12.0  1,500",
        "A training keeps at most one worker per sample of its global batch busy: sft 32.",
    ]


def test_times_and_counts_are_short():
    assert [duration(seconds) for seconds in (119.4, 600, 7200)] == ["119 s", "10 min", "2.0 h"]
    assert [short(number) for number in (999, 1500, 2.5e12, 3e15)] == ["999 ", "1.5 k", "2.5 T", "3,000.0 T"]
