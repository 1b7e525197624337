"""The picture of a matrix: well-formed, with every share, and nothing of a name gets out of its text."""

from __future__ import annotations

from xml.etree import ElementTree

from uce.reporting.matrix import matrix_svg


def test_every_share_stands_in_its_cell() -> None:
    root = ElementTree.fromstring(str(matrix_svg([[0.75, 0.25], [0, 1]], ["<cup>", "<cat>"], "what bled")))
    texts = [node.text for node in root.iter("text")]
    assert texts == ["0", "0 cup", "1", "1 cat", "75%", "25%", "0%", "100%"]
    assert root.get("aria-label") == "what bled" and root.findtext("title") == "what bled"
    opacity = [float(node.get("fill-opacity", "")) for node in root.iter("rect")]
    assert opacity == sorted(opacity, key=lambda value: [0.66, 0.26, 0.06, 0.86].index(value))


def test_names_are_escaped() -> None:
    svg = str(matrix_svg([[1.0]], ["<a&b<script>"], '"quoted" <i>'))
    assert "<script" not in svg and "<i>" not in svg
    ElementTree.fromstring(svg)
