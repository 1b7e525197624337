"""The means as people read them: on the terminal, in Markdown, LaTeX and HTML.

A cell of a score has three lines: mean and spread; how far it lies from the base row; the interval of that.
"""

from __future__ import annotations

from typing import Any

from uce.many.measures import LIKENESS, SCORES, WORDS, columns_of
from uce.many.statistics import LEAST
from uce.many.tables import LOWER_IS_BETTER, Table, head_of, text_of

BEST_OF = (*SCORES, *LIKENESS)


def tables_of(document: dict[str, Any]) -> list[tuple[str, Table]]:
    """(what it shows, table): masks, what was learned, whether words obey, and the time, each narrow enough for a
    page."""
    columns = columns_of(row["measures"] for row in document["means"])
    masks = [name for name in columns if name in ("concepts", "share", *SCORES)]
    words = [name for name in columns if name in WORDS]
    tokens = [n for n in columns if (n in LIKENESS and n not in WORDS) or n.startswith("loss.")]
    seconds = [name for name in columns if name.startswith("seconds.")]
    groups = [("Masks", masks), ("Tokens", tokens), ("Words", words), ("Seconds", seconds)]
    return [(title, _table(document, names)) for title, names in groups if names or not columns]


def table_of(document: dict[str, Any]) -> Table:
    """All means in one table, one line per row."""
    return _table(document, columns_of(row["measures"] for row in document["means"])).first_lines()


def _table(document: dict[str, Any], columns: list[str]) -> Table:
    means = document["means"]
    keys = [item["key"] for item in document["vary"] if item["key"] in means[0]["values"]] if means else []
    settings, failing = any(row["settings"] for row in means), any(row["failed"] for row in means)
    heads = [*keys, *(["settings"] if settings else []), "n", *(["failed"] if failing else [])]
    rows = []
    for row in means:
        facts = [row["values"][key] for key in keys] + ([row["settings"]] if settings else [])
        facts.append(str(row["n"]))
        facts += [f"{row['failed']} of {row['runs']}" if row["failed"] else ""] if failing else []
        rows.append((*facts, *(_lines(row, name) for name in columns)))
    num_keys = len(keys) + settings
    best = {(row, len(heads) + number) for number, name in enumerate(columns) for row in _best(document, name)}
    return Table((*heads, *(head_of(name) for name in columns)), tuple(rows), num_keys, frozenset(best))


def _lines(row: dict[str, Any], name: str) -> str:
    text = text_of(name, row["measures"].get(name))
    if not text or name not in ("concepts", *BEST_OF):
        return text
    spread = row["spread"].get(name)
    lines = [text if spread is None else f"{text} ± {text_of(name, spread)}"]
    if (found := row["difference"].get(name)) is not None and name in BEST_OF:
        lines.append(_signed(name, found["mean"]))
        if found["low"] is not None:
            lines.append(f"[{_signed(name, found['low'])}, {_signed(name, found['high'])}]")
    return "\n".join(lines)


def _signed(name: str, value: float) -> str:
    text = text_of(name, abs(value))
    return text if not float(text) else ("+" if value > 0 else "−") + text


def _best(document: dict[str, Any], name: str) -> list[int]:
    """Rows that have the best of a score, where it can be told from the base: the interval of a better row excludes
    it, or, for the base itself, those of all others do."""
    means = document["means"]
    found = {number: row["measures"][name] for number, row in enumerate(means) if name in row["measures"]}
    if name not in BEST_OF or len(found) < 2:
        return []
    towards = -1 if name in LOWER_IS_BETTER else 1
    top = text_of(name, towards * max(towards * value for value in found.values()))
    at_top = [number for number, value in found.items() if text_of(name, value) == top]
    clear = {number: means[number]["difference"].get(name, {}).get("sign", 0) * towards for number in found}
    base = next((number for number, row in enumerate(means) if row["cell"] == document["base"]), None)
    if base in at_top:
        others = [number for number in found if number not in at_top]
        return at_top if others and all(clear[number] < 0 for number in others) else []
    return [number for number in at_top if clear[number] > 0]


def about_lines(document: dict[str, Any]) -> list[str]:
    """What the numbers are."""
    titles = {row["cell"]: row["title"] for row in document["means"]}
    pictures, seeds = len(document["pictures"]), _seeds(document)
    over = f"{pictures} pictures" if pictures != 1 else "1 picture"
    lines = [f"Means ± standard deviation over {over}{f' and {seeds} seeds' if seeds > 1 else ''}; n: runs that count."]
    if len(titles) > 1 and document.get("base") in titles:
        unit, units = ("pictures", pictures) if pictures > 1 else ("seeds", seeds)
        mark = "A best value is marked only where the interval excludes that row."
        lines.append(
            f"Below: the paired difference to the row {titles[document['base']]!r} and its 95% bootstrap interval over "
            f"{unit}. {mark if units >= LEAST else f'Nothing is marked as best with fewer than {LEAST} {unit}.'}"
        )
    return [*lines, *document.get("notes", [])]


def _seeds(document: dict[str, Any]) -> int:
    return max((len(row["cells"]) for row in document["means"]), default=1)


def count_lines(document: dict[str, Any]) -> list[str]:
    """ "extractor: computed 2, reused 10" for every stage."""
    return [f"{slot}: computed {n['computed']}, reused {n['reused']}" for slot, n in document["counts"].items()]


def failure_lines(document: dict[str, Any]) -> list[str]:
    """ "clusterer=kmeans on desk: what went wrong"."""
    titles = {cell["name"]: cell["title"] for cell in document["cells"]}
    return [
        f"{titles[result['cell']]} on {result['picture']}: {result['error']}"
        for result in document["results"]
        if result["status"] == "failed"
    ]
