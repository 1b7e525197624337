"""Hooks of MkDocs: pages that lie elsewhere in the repository, and links between them and docs/."""

from __future__ import annotations

import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/uce-plugin-superpixels/README.md": "superpixels.md",
    "uce/plugins/backbones/mini/MODEL_CARD.md": "mini.md",
}
"""Path in the repository -> page of the site."""
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_MATH = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Bring the pages in."""
    for path, page in ELSEWHERE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)))
    return files


def on_page_markdown(text: str, page: Any, **_: Any) -> str:
    """Links as they work in the repository become links of the site; those to other files become plain text."""
    found = {page_: path for path, page_ in ELSEWHERE.items()}
    here = page.file.src_uri
    folder = posixpath.dirname(found.get(here, f"docs/{here}"))
    parts = _CODE.split(text)
    return "".join(
        part if part.startswith("```") else _LINK.sub(lambda m: _link(m, folder, here), part) for part in parts
    )


def on_page_content(html: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw by themselves, so that no script is fetched; and the bar that GitHub
    wants escaped in a table's code."""
    html = re.sub(r"<td.*?</td>", lambda m: m[0].replace("\\|", "|"), html, flags=re.DOTALL)
    return _MATH.sub(lambda m: _formula(unescape(m[3]), "block" if m[2] == "[" else "inline"), html)


def _formula(tex: str, display: str) -> str:
    from latex2mathml.converter import convert

    return str(convert(tex.strip(), display=display))


def _link(found: re.Match[str], folder: str, here: str) -> str:
    label, target, anchor = found[1], found[2], found[3] or ""
    if re.match(r"[a-z]+:", target):
        return found[0]
    path = posixpath.normpath(posixpath.join(folder, target))
    page = ELSEWHERE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
    if page is not None:
        return f"[{label}]({posixpath.relpath(page, posixpath.dirname(here) or '.')}{anchor})"
    return label if (ROOT / path).exists() else found[0]
