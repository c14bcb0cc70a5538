"""Aligned and Markdown tables, written out."""

from inbol_ray.text_table import ascii_text, markdown_table, text_table


def test_words_are_left_and_numbers_right_aligned():
    grid = [["name", "kind", "n"], ["a", "long", "1,000"], ["bcdef", "x", ""]]
    assert text_table(grid) == "name   kind      n\n------------------\na      long  1,000\nbcdef     x"
    assert text_table(grid, left=(0, 1)).splitlines()[-1] == "bcdef  x"


def test_titles_are_over_their_columns():
    grid = [["method", "a", "b", "a", "b"], ["x", "10", "20", "3", "4"]]
    assert text_table(grid, groups=["in", "out"]).splitlines() == [
        "          in        out",
        "method     a   b    a  b",
        "------------------------",
        "x         10  20    3  4",
    ]


def test_no_cell_of_markdown_ends_its_column_or_opens_a_tag():
    assert markdown_table([["a|b", "n"], ["<script>", "1"]]) == "| a\\|b | n |\n| --- | ---: |\n| &lt;script> | 1 |"
    assert markdown_table([["a", "b"]], left=(0, 1)) == "| a | b |\n| --- | --- |"


def test_signs_that_a_terminal_may_lack_become_plain():
    assert ascii_text("\N{MINUS SIGN}1 \N{EN DASH} it\u2019s") == "-1 - it's"
