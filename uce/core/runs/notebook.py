"""How runs and concepts look in a notebook: IPython calls `_repr_html_` and `_repr_png_` and shows what comes back.

None means that there is nothing to show; the notebook then prints the plain text.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from uce.core.errors import RunFolderError
from uce.core.files.formats import open_picture
from uce.core.runs.token_names import token_stem

if TYPE_CHECKING:
    from pathlib import Path

    from uce.core.runs.stored import StoredConcept, StoredRun

THUMB = 96
_RUN = """
<figure style="margin: 0 0 .5em">
  {% if overlay %}<img src="{{ overlay }}" alt="{{ alt }}" style="max-width: 100%; width: 480px">{% endif %}
</figure>
<table>
  <thead><tr>{% for head in heads %}<th style="text-align: left">{{ head }}</th>{% endfor %}</tr></thead>
  <tbody>
  {% for row in rows %}
    <tr>
      <td style="text-align: left"><code>{{ row.token }}</code></td>
      <td style="text-align: left">{{ row.label }}</td>
      <td>{{ row.share }}</td>
      <td>{{ row.score }}</td>
      {% if drawn %}
      <td>{% if row.sample %}<img src="{{ row.sample }}" alt="drawn: a photo of {{ row.token }}" width="96">{% endif %}
      </td>
      {% endif %}
    </tr>
  {% endfor %}
  </tbody>
</table>
<p><code>{{ folder }}</code>: {{ status }}</p>
"""


def run_html(run: StoredRun) -> str | None:
    """The overlay, and a row per concept with what its token draws."""
    from jinja2 import Environment

    try:
        rows = [_row(run, concept) for concept in run.concepts]
        overlay = _uri(run.path / "overlay.png") if run.has_picture else ""
        status = str(run.info.get("status", ""))
    except (RunFolderError, OSError):
        return None
    drawn = any(row["sample"] for row in rows)
    return (
        Environment(autoescape=True)
        .from_string(_RUN)
        .render(
            overlay=overlay,
            alt=f"The picture with {len(rows)} concepts outlined: {', '.join(row['token'] for row in rows)}",
            heads=["token", "nearest word", "share", "score", *(["drawn"] if drawn else [])],
            rows=rows,
            drawn=drawn,
            folder=run.path,
            status=status,
        )
    )


def run_png(run: StoredRun) -> bytes | None:
    """overlay.png."""
    path = run.path / "overlay.png"
    return path.read_bytes() if path.is_file() else None


def concept_png(concept: StoredConcept) -> bytes | None:
    """The thing alone on white; None for an imported token."""
    from uce.core.runs.contact_sheet import cut_out
    from uce.core.runs.folder import RunFolder
    from uce.core.runs.stored import StoredRun

    if not concept.mask_path:
        return None
    buffer = io.BytesIO()
    try:
        cut_out(StoredRun(RunFolder(concept.folder)), concept).save(buffer, format="PNG")
    except (RunFolderError, OSError):
        return None
    return buffer.getvalue()


def _row(run: StoredRun, concept: StoredConcept) -> dict[str, str]:
    sample = run.path / "samples" / f"{token_stem(concept.token)}.png"
    return {
        "token": concept.token,
        "label": concept.label or "",
        "share": f"{concept.share:.1%}" if concept.mask_path else "",
        "score": f"{concept.score:.2f}" if concept.mask_path else "",
        "sample": _uri(sample, THUMB * 2) if sample.is_file() else "",
    }


def _uri(path: Path, side: int = 960) -> str:
    """A picture as part of the page, at most `side` pixels long: a notebook keeps it in its file."""
    from PIL import Image

    buffer = io.BytesIO()
    with open_picture(path) as file:
        picture = file.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    picture.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
