"""Tables whose quotes are balanced, as pandas writes them, and tables whose quotes are not."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbol_ray.corpora.delimited_lines import read_records, split_record

CELLS = st.text(alphabet='ab"\t,\n ', max_size=6)


def records(text: str, delimiter: str = "\t") -> list[tuple[int, list[str] | str]]:
    """(line, fields, or the text of the error)"""
    lines = io.StringIO(text, newline="")
    found = read_records(lines, delimiter)
    return [(number, str(fields) if isinstance(fields, ValueError) else fields) for number, fields in found]


@given(
    rows=st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=5),
    delimiter=st.sampled_from("\t,"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_standard_library_writes_is_read_back(rows, delimiter, end):
    """Save where a line within a quoted field has as many delimiters as a row, which is taken for a stray quote."""
    rows = [["a", "b", "c", "d"], *([cell.replace(delimiter, "-") for cell in row] for row in rows)]
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator=end).writerows(rows)
    assert [fields for _, fields in records(buffer.getvalue(), delimiter)] == rows


def test_a_quote_that_nothing_closes_merges_no_rows():
    text = 'i\tq\ta\n1\t"Stop sign?\tred\n2\tfourth "end"?\tblue\n3\tx\ty\n4\t"last\tz'
    assert records(text) == [
        (1, ["i", "q", "a"]),
        (2, ["1", '"Stop sign?', "red"]),
        (3, ["2", 'fourth "end"?', "blue"]),
        (4, ["3", "x", "y"]),
        (5, ["4", '"last', "z"]),
    ]


def test_two_stray_quotes_that_would_make_one_field():
    text = 'i\tq\ta\n1\t"open\tred\n2\tx\ty"\n3\tx\ty\n'
    assert records(text)[1:] == [(2, ["1", '"open', "red"]), (3, ["2", "x", 'y"']), (4, ["3", "x", "y"])]


def test_a_stray_quote_and_a_cell_that_ends_in_one():
    text = 'i\tq\ta\n1\t"open\tred\n2\tis it "x"\tblue\n'
    assert records(text)[1:] == [(2, ["1", '"open', "red"]), (3, ["2", 'is it "x"', "blue"])]


def test_what_a_stray_quote_leaves_ragged_is_an_error_of_its_line_alone():
    assert records('i,q,a\n1,"what, me?,red\n2,x,y\n', ",")[1:] == [
        (2, "4 fields, and a quote that nothing closes, where the header has 3"),
        (3, ["2", "x", "y"]),
    ]


def test_quoted_fields_go_over_lines():
    assert records('i\th\n1\t"two\r\nlines of ""it"""\n\n2\tx\n') == [
        (1, ["i", "h"]),
        (2, ["1", 'two\r\nlines of "it"']),
        (5, ["2", "x"]),
    ]


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        ('a\t""\tb', ["a", "", "b"]),
        ('"a"\t"b""c"', ["a", 'b"c']),
        ("a\t", ["a", ""]),
        ('"a\tb', "open"),
        ('"a"b\tc', "stray"),
        ('x"y\tz', ['x"y', "z"]),
    ],
)
def test_split_record(record, fields):
    assert split_record(record, "\t") == fields
