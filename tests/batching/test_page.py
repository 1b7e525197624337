"""The contact sheet: what is on it, where it leads, and that nothing on it is code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uce.batching.folder import BatchFolder
from uce.batching.page import MOST, OPEN, write_page

DOCUMENT: dict[str, Any] = {
    "uce": "0.1.0",
    "finished": "2026-01-02T03:04:05+00:00",
    "localize_only": False,
    "config": {"model": {"name": "toy"}},
}


def row(name: str, **facts: Any) -> dict[str, Any]:
    given = {"name": name, "source": f"/a/{name}.png", "folder": f"runs/{name}", "status": "done", "error": None}
    return given | {"empty": False, "tokens": ["<asset0>"], "labels": [None], "seconds": 2.0} | facts


def page_of(folder: Path, rows: list[dict[str, Any]]) -> str:
    write_page(BatchFolder(folder), DOCUMENT, rows)
    return (folder / "batch.html").read_text(encoding="utf-8")


def test_a_card_leads_to_the_report_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "runs" / "cup").mkdir(parents=True)
    (tmp_path / "runs" / "cup" / "report.html").touch()
    page = page_of(tmp_path, [row("cup", labels=["cup"], seconds=4.0), row("desk")])
    assert "<h1>2 of 2 pictures done</h1>" in page and "A picture took 3.0 s" in page and "failed:" not in page
    assert '<a href="runs/cup/report.html"><img loading="lazy" src="runs/cup/overlay.png"' in page
    assert '<a href="runs/desk/overlay.png">' in page and "<code>&lt;asset0&gt;</code> cup" in page


def test_failures_come_first_and_many_are_folded_away(tmp_path: Path) -> None:
    bad = {"status": "failed", "error": "<script>alert(1)</script>", "tokens": [], "labels": [], "seconds": 0.0}
    page = page_of(tmp_path, [row("good"), row("bad", **bad), row("plain", **{**bad, "empty": True})])
    assert "<details open>" in page and "2 failed: mend them" in page and "plain</strong>, nothing found:" in page
    assert "<script>alert" not in page and page.index("failed:") < page.index("good</strong>")
    assert "<details>" in page_of(tmp_path, [row(f"bad-{i}", **bad) for i in range(OPEN + 1)])


def test_a_page_of_very_many_says_that_it_shows_some(tmp_path: Path) -> None:
    page = page_of(tmp_path, [row(f"p-{i}") for i in range(MOST + 1)])
    assert f"The first {MOST} are shown" in page and page.count("<figure class=") == MOST
