"""Tables of numbers as people read them, and as CSV and Markdown."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uce.evaluation.metrics import HEADS

LOWER_IS_BETTER = ("count_error", "seconds", "bled", "background_leak")


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        heads: column titles; the first `num_keys` say which row it is.
        rows: a text per column; what stands under a number is in further lines of it.
        best: (row, column) of what is marked.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_keys: int
    best: frozenset[tuple[int, int]] = frozenset()

    def first_lines(self) -> Table:
        """The same without what stands under the numbers."""
        rows = (tuple(text.partition("\n")[0] for text in row) for row in self.rows)
        return dataclasses.replace(self, rows=tuple(rows))

    def markdown(self) -> str:
        """Numbers to the right, what is marked in bold."""
        align = [":--" if column < self.num_keys else "--:" for column in range(len(self.heads))]
        lines = [[escaped(head) for head in self.heads], align]
        for number, row in enumerate(self.rows):
            cells = []
            for column, text in enumerate(row):
                first, *rest = (escaped(line) for line in text.split("\n"))
                first = f"**{first}**" if (number, column) in self.best else first
                cells.append("<br>".join([first, " ".join(rest)] if rest else [first]))
            lines.append(cells)
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def latex(self) -> str:
        """A `tabular` that needs no package; what stands under the numbers is a small line of its own."""
        lines = ["\\begin{tabular}{" + "l" * self.num_keys + "r" * (len(self.heads) - self.num_keys) + "}", "\\hline"]
        lines += [" & ".join(map(latex_escaped, self.heads)) + " \\\\", "\\hline"]
        for number, row in enumerate(self.rows):
            parts = [text.split("\n") for text in row]
            firsts = [latex_escaped(part[0]) for part in parts]
            marked = [f"\\textbf{{{t}}}" if (number, c) in self.best else t for c, t in enumerate(firsts)]
            lines.append(" & ".join(marked) + " \\\\")
            if any(len(part) > 1 for part in parts):
                under = (latex_escaped(" ".join(part[1:])) for part in parts)
                lines.append(" & ".join(f"{{\\scriptsize {text}}}" if text else "" for text in under) + " \\\\")
        return "\n".join([*lines, "\\hline", "\\end{tabular}"])


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "±": r"$\pm$", "−": "$-$", "×": r"$\times$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{letter: f"${letter}$" for letter in "<>|"},
}  # fmt: skip


def latex_escaped(text: str) -> str:
    """A text as LaTeX prints it; SIM^I becomes a superscript."""
    base, power, raised = text.partition("^")
    if power and "^" not in raised and raised.isalnum():
        return f"{latex_escaped(base)}$^{{{raised}}}$"
    return "".join(_LATEX.get(letter, r"\textasciicircum{}" if letter == "^" else letter) for letter in text)


def escaped(text: str) -> str:
    """A text that means nothing in Markdown and HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def csv_text(records: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> str:
    """One line per record; columns in the order given, or in that of their first appearance."""
    names = list(names or dict.fromkeys(name for record in records for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=names, lineterminator="\n", restval="")
    writer.writeheader()
    for record in records:
        writer.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in record.items()})
    return buffer.getvalue()


def head_of(column: str) -> str:
    """ "seconds.extractor" -> "extractor (s)", "loss.total" -> "loss total"."""
    kind, _, name = column.partition(".")
    return {"seconds": f"{name} (s)", "loss": f"loss {name}"}.get(kind, "") if name else HEADS.get(column, column)


def text_of(column: str, value: float | None) -> str:
    """A measure in as many digits as people compare."""
    if value is None:
        return ""
    if column == "share":
        return f"{value:.1%}"
    if column in ("concepts", "count_error"):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if column.startswith("seconds."):
        return f"{value:.2f}" if value < 10 else f"{value:.0f}"
    return f"{value:.3g}" if column.startswith("loss.") else f"{value:.3f}"


def plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
