"""batch.html: a contact sheet of the batch, failures first; pictures are loaded from the run folders as one scrolls."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from uce.batching.folder import BatchFolder
from uce.batching.index import Row
from uce.core.files import write_text

MOST = 2000
"""Pictures on the page; a browser has trouble with many more, and the index holds them all."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }
ul.failed { padding: 0; list-style: none; } ul.failed li { border-left: 4px solid #c33; padding: .2rem .8rem; }
ul.failed li { margin: .5rem 0; overflow-wrap: anywhere; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; height: 200px; object-fit: contain; background: #f2f2f2; }
figcaption { font-size: 13px; overflow-wrap: anywhere; } small { color: #666; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; } figure img { background: #262626; } small { color: #999; }
}
"""


def write_page(folder: BatchFolder, document: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write batch.html; every text on it is escaped."""
    failed = [row for row in rows if row["status"] == "failed"]
    good = [row for row in rows if row["status"] != "failed"]
    shown = f"; the first {MOST} are shown, batch.jsonl lists all" if max(len(good), len(failed)) > MOST else ""
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>uce batch</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
        f"<h1>{len(good)} of {len(rows)} pictures</h1>",
        f"<p>{escape(document['config']['model']['name'])}, {escape(document['finished'])}{shown}</p>",
    ]
    if failed:
        lines += [f"<h2>{len(failed)} failed</h2>", '<ul class="failed">', *map(_failure, failed[:MOST]), "</ul>"]
    lines += ['<div class="sheet">', *map(_card, good[:MOST]), "</div>", "</body></html>"]
    write_text(folder / "batch.html", "\n".join(lines) + "\n")


def _failure(row: Row) -> str:
    return (
        f"<li><b>{escape(row['name'])}</b> <small>{escape(row['source'])}</small><br>{escape(row['error'] or '')}</li>"
    )


def _card(row: Row) -> str:
    folder, names = quote(row["folder"]), ", ".join(row["tokens"])
    number = f"{row['concepts']} concept{'' if row['concepts'] == 1 else 's'}"
    return (
        f'<figure><a href="{folder}/overlay.png"><img loading="lazy" src="{folder}/overlay.png" '
        f'alt="{escape(row["name"])}"></a><figcaption><b>{escape(row["name"])}</b><br>'
        f"{number} <small>{escape(names)}</small></figcaption></figure>"
    )
