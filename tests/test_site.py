"""The documentation site's hooks and its list of pages. `.ci/run` builds it with `mkdocs build --strict`."""

from __future__ import annotations

import re
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from test_docs import DOCS, ROOT, script

CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """docs/site_hooks.py as a module."""
    pytest.importorskip("mkdocs")
    return script("site_hooks")


def on(page: str) -> Any:
    return SimpleNamespace(file=SimpleNamespace(src_uri=page))


def test_every_page_is_in_the_menu_and_nothing_is_fetched() -> None:
    menu = set(re.findall(r": ([a-z_/-]+\.md)$", CONFIG, re.MULTILINE))
    missing = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - menu
    assert not missing, f"mkdocs.yml, nav: add {sorted(missing)}"
    assert "font: false" in CONFIG and "http" not in CONFIG.replace("https://semver", "")
    assert "http" not in (DOCS / "site.css").read_text(encoding="utf-8")


def test_links_between_the_repository_and_the_site(hooks: ModuleType) -> None:
    text = "[a](../CONTRIBUTING.md#style) [b](cli.md#uce-run) [c](a:b) [d](../README.md)\n```\n[e](../NOTICE)\n```\n"
    assert hooks.on_page_markdown(text, on("plugins.md")) == (
        "[a](contributing.md#style) [b](cli.md#uce-run) [c](a:b) d\n```\n[e](../NOTICE)\n```\n"
    )
    assert hooks.on_page_markdown("[p](docs/plugins.md) [n](NOTICE)", on("contributing.md")) == "[p](plugins.md) n"
    assert hooks.on_page_markdown("[p](../plugins.md) [c](../../CONTRIBUTING.md)", on("stages/clustering.md")) == (
        "[p](../plugins.md) [c](../contributing.md)"
    )
    assert hooks.on_page_markdown("[gone](../missing.md)", on("cli.md")) == "[gone](../missing.md)", "strict finds it"


def test_formulas_and_bars(hooks: ModuleType) -> None:
    pytest.importorskip("latex2mathml")
    made = hooks.on_page_content(r'<p><span class="arithmatex">\(a \lt b\)</span></p><td><code>a \| b</code></td>')
    assert made.startswith("<p><math") and "arithmatex" not in made and "<code>a | b</code>" in made
    assert 'display="block"' in hooks.on_page_content(r'<div class="arithmatex">\[x\]</div>')
