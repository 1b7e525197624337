"""docs/make_output.py: what a page shows, what counts as the same, and that no command is left out."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest
from test_docs import page, script, section


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """docs/make_output.py as a module."""
    return script("make_output")


def test_every_command_shows_what_it_prints(maker: ModuleType) -> None:
    from test_docs import FENCE

    text = page("cli.md")
    headings = [line for line in text.splitlines() if line.startswith("## uce ")]
    for heading in headings:
        if heading in ("## uce library", "## uce ui"):  # a group without work of its own; one that goes on for ever
            continue
        body = section(text, heading)
        assert maker.commands(body), f"docs/cli.md: {heading} has no output; add <!-- output: ... --> <!-- end -->"
    for name in maker.PAGES:
        for found in maker.BLOCK.finditer(page(name)):
            ((language, shown),) = FENCE.findall(found[0])
            assert language == "text" and shown.startswith(f"$ {found[1]}\n"), "run python docs/make_output.py"


def test_pages_are_rewritten_in_one_place(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path.cwd(), os.environ.get("UCE_LIBRARY")
    text = "a\n\n<!-- output: uce plugins show saliency -->\nold\n<!-- end -->\n\nb\n"
    (new,) = maker.rewritten({"x.md": text}).values()
    assert new.startswith("a\n\n<!-- output: uce plugins show saliency -->\n\n```text\n$ uce plugins show saliency\n")
    assert "refiner.saliency.threshold = 1.0" in new and new.endswith("```\n\n<!-- end -->\n\nb\n")
    assert maker.rewritten({"x.md": new}) == {"x.md": new}
    assert (Path.cwd(), os.environ.get("UCE_LIBRARY")) == before
    with pytest.raises(RuntimeError, match="uce plugins show nothing ended with 2: uce: unknown plugin"):
        maker.run("uce plugins show nothing")


def test_what_counts_as_the_same(maker: ModuleType) -> None:
    one = "0         <asset0>   cup (mug)   12.3%    1.94   out/masks/0.png\ntook 3.2 s, fingerprint 0123456789abcdef"
    other = "0         <asset0>   tea         11.9%   11.90   out/masks/0.png\ntook 14 s, fingerprint ffffff0000000123"
    assert maker.skeleton(one) == maker.skeleton(other)
    assert maker.skeleton(one) != maker.skeleton(one.replace("<asset0>", "<cup>"))
    assert maker.skeleton(one) != maker.skeleton(one.replace("took", "needed"))
    assert maker.skeleton("a <cup> (tea), torch 2.13.0+cpu") == maker.skeleton("a <cup> (mug), torch 2.14.0")
    long = maker.tidy("\n".join(["x" * 200, f"{Path('/tmp/here')}/out/a.png", *"abcdefghijklmnop"]), Path("/tmp/here"))
    lines = long.splitlines()
    assert lines[0].endswith("...") and len(lines[0]) == 118 and lines[1] == "out/a.png"
    assert len(lines) == maker.LONGEST and lines[-2] == "... (5 lines more)" and lines[-1] == "p"
