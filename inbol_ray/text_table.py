"""Tables as text, the one way of making them: rows of cells -> aligned lines for a terminal, or Markdown.

The first row is the head. Columns in `left` are left-aligned (words), the others right-aligned (numbers).
"""

from collections.abc import Container, Sequence

Grid = Sequence[Sequence[str]]
"""Rows of equally many cells."""


def text_table(grid: Grid, left: Container[int] = (0,), groups: Sequence[str] = ()) -> str:
    """Aligned lines with a rule under the head. `groups` are titles over equally many columns each, after the first."""
    num_columns = len(grid[0])
    group_size = (num_columns - 1) // len(groups) if groups else 0
    widths = [max(len(row[column]) for row in grid) for column in range(num_columns)]
    gaps = [0, *(4 if groups and column % group_size == 1 % group_size else 2 for column in range(1, num_columns))]

    def line(row: Sequence[str]) -> str:
        cells = [
            " " * gap + (cell.ljust(width) if column in left else cell.rjust(width))
            for column, (cell, width, gap) in enumerate(zip(row, widths, gaps, strict=True))
        ]
        return "".join(cells).rstrip()

    title_line, place = "", widths[0]
    for index, title in enumerate(groups):
        columns = slice(1 + index * group_size, 1 + (index + 1) * group_size)
        title_line += " " * (place + gaps[columns][0] - len(title_line)) + title
        place += sum(widths[columns]) + sum(gaps[columns])
    head, *body = map(line, grid)
    rule = "-" * max(map(len, [head, *body]))
    return "\n".join([*([title_line] if groups else []), head, rule, *body])


def markdown_table(grid: Grid, left: Container[int] = (0,)) -> str:
    """A Markdown table in which no cell can end its column or open an HTML tag."""
    rule = ["---" if column in left else "---:" for column in range(len(grid[0]))]
    safe = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in grid]
    return "\n".join("| " + " | ".join(row) + " |" for row in [safe[0], rule, *safe[1:]])


def ascii_text(text: str) -> str:
    """Plain signs, for logs and terminals of any encoding."""
    for sign, plain in (("\N{MINUS SIGN}", "-"), ("\N{EN DASH}", "-"), ("\u2019", "'")):
        text = text.replace(sign, plain)
    return text
