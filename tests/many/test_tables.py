"""Tables as text."""

from __future__ import annotations

import pytest

from uce.many.tables import Table, csv_text, head_of, latex_escaped

TABLE = Table(("a_b", "SIM^I"), (("x & y", "0.5\n+0.1\n[+0.0, +0.2]"), ("z", "0.4")), 1, frozenset({(0, 1)}))


def test_markdown_puts_what_stands_under_a_number_on_a_second_line() -> None:
    assert TABLE.markdown().splitlines() == [
        "| a_b | SIM^I |",
        "| :-- | --: |",
        "| x &amp; y | **0.5**<br>+0.1 [+0.0, +0.2] |",
        "| z | 0.4 |",
    ]
    assert TABLE.first_lines().rows == (("x & y", "0.5"), ("z", "0.4"))


def test_latex_needs_no_package() -> None:
    assert TABLE.latex().splitlines() == [
        r"\begin{tabular}{lr}",
        r"\hline",
        r"a\_b & SIM$^{I}$ \\",
        r"\hline",
        r"x \& y & \textbf{0.5} \\",
        r" & {\scriptsize +0.1 [+0.0, +0.2]} \\",
        r"z & 0.4 \\",
        r"\hline",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("50%", r"50\%"), ("a\\b~", r"a\textbackslash{}b\textasciitilde{}"), ("<0 − 1>", "$<$0 $-$ 1$>$"),
     ("ACC^1", "ACC$^{1}$"), ("a^b c", r"a\textasciicircum{}b c"), ("{x}", r"\{x\}")],
)  # fmt: skip
def test_nothing_of_a_name_is_a_command(text: str, wanted: str) -> None:
    assert latex_escaped(text) == wanted


def test_csv_has_the_columns_of_all_records() -> None:
    assert csv_text([{"a": 1, "b": 0.123456789}, {"c": "x"}]) == "a,b,c\n1,0.123457,\n,,x\n"


def test_heads() -> None:
    found = [head_of(name) for name in ("seconds.extractor", "loss.total", "sim_i", "seconds", "concepts")]
    assert found == ["extractor (s)", "loss total", "SIM^I", "seconds", "concepts"]
