"""Pictures in rows, each with its words below it (never over it), as plain HTML: every button says what it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) trigger("click", { act: button.dataset.act, number: Number(button.dataset.number) });
});
"""
"""Tells the server which button of which tile was pressed."""


@dataclass(frozen=True)
class Tile:
    """A picture and what belongs to it.

    Attributes:
        address: of the picture. name: what it shows, for who cannot see it.
        title: the line below it. detail: a quieter one.
        act: what a click on the picture does, "" nothing; `does` says it, such as "Go on with".
        buttons: (act, label) below it.
        sources: (address, name) of small pictures that it was made from.
        marked: it is the one that is shown now.
    """

    address: str
    name: str
    title: str = ""
    detail: str = ""
    act: str = ""
    does: str = ""
    buttons: tuple[tuple[str, str], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    marked: bool = False


def tiles_html(title: str, tiles: Sequence[Tile], empty: str = "") -> str:
    """A heading and the tiles; `empty` is said where there are none."""
    head = f"<h3>{escape(title)}</h3>"
    if not tiles:
        return f"{head}<p class='uce-quiet'>{escape(empty)}</p>" if empty else ""
    return f"{head}<ul class='uce-tiles'>{''.join(_tile(tile, number) for number, tile in enumerate(tiles))}</ul>"


def _tile(tile: Tile, number: int) -> str:
    picture = f"<img src='{escape(tile.address)}' alt='{escape('' if tile.act else tile.name)}' loading='lazy'>"
    if tile.act:
        said = escape(f"{tile.does} {tile.name}".strip())
        current = " aria-current='true'" if tile.marked else ""
        picture = _button(tile.act, number, picture, f"class='uce-open' aria-label='{said}'{current}")
    parts = [picture]
    if tile.sources:
        images = "".join(f"<img src='{escape(a)}' alt='{escape(n)}' title='{escape(n)}'>" for a, n in tile.sources)
        parts.append(f"<div class='uce-sources'><span>from</span>{images}</div>")
    if tile.title:
        parts.append(f"<p class='uce-title'>{escape(tile.title)}</p>")
    if tile.detail:
        parts.append(f"<p class='uce-quiet'>{escape(tile.detail)}</p>")
    if tile.buttons:
        row = [_button(act, number, escape(label), f"aria-label='{escape(f'{label}: {tile.name}')}'")
               for act, label in tile.buttons]  # fmt: skip
        parts.append(f"<div class='uce-buttons'>{''.join(row)}</div>")
    return f"<li>{''.join(parts)}</li>"


def _button(act: str, number: int, inside: str, attributes: str) -> str:
    return f"<button type='button' data-act='{escape(act)}' data-number='{number}' {attributes}>{inside}</button>"
