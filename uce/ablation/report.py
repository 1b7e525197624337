"""The tables of an ablation: CSV for programs, Markdown for notes, HTML with the overlays side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from uce.ablation.folder import AblationFolder
from uce.ablation.measure import Measures, columns_of, counts_of, mean_of, measure
from uce.ablation.page import render_page
from uce.ablation.pictures import Subject
from uce.ablation.table import Table, count_lines, failure_lines, table_of
from uce.core.files.writing import write_text

MEAN = "(mean)"


def write_reports(folder: AblationFolder, document: dict[str, Any], subjects: Sequence[Subject]) -> None:
    """Measure every cell and write ablation.json, .csv, .md and .html."""
    truths = {subject.name: subject.truth for subject in subjects}
    for result in document["results"]:
        run, truth = folder.run(result["picture"], result["cell"]), truths[result["picture"]]
        result["measures"] = measure(run, result["stages"], truth, result.get("empty", False))
    document["means"] = [_mean(document, cell["name"]) for cell in document["cells"]]
    document["counts"] = counts_of(row for result in document["results"] for row in result["stages"])
    folder.write(document)
    write_text(folder / "ablation.csv", csv_of(document))
    write_text(folder / "ablation.md", markdown_of(document))
    write_text(folder / "ablation.html", render_page(folder, document, table_of(document), subjects))


def _mean(document: dict[str, Any], cell: str) -> dict[str, Any]:
    results = [result for result in document["results"] if result["cell"] == cell]
    failed = sum(result["status"] == "failed" for result in results)
    return {
        "cell": cell, "pictures": len(results), "failed": failed,
        "measures": mean_of(result["measures"] for result in results),
    }  # fmt: skip


def csv_of(document: dict[str, Any]) -> str:
    """One row per cell averaged over the pictures (picture "(mean)"), then one per cell and picture."""
    keys = [item["key"] for item in document["vary"]]
    columns = columns_of(result["measures"] for result in document["results"])
    values = {cell["name"]: cell["values"] for cell in document["cells"]}
    buffer = io.StringIO()
    names = ["cell", "picture", *keys, "status", *columns, "reused", "error", "folder"]
    writer = csv.DictWriter(buffer, fieldnames=names, lineterminator="\n", restval="")
    writer.writeheader()
    for row in document["means"]:
        status = f"{row['failed']} of {row['pictures']} failed" if row["failed"] else "done"
        facts = {"cell": row["cell"], "picture": MEAN, "status": status}
        writer.writerow(facts | values[row["cell"]] | _digits(row["measures"]))
    for result in document["results"]:
        facts = {name: result.get(name, "") for name in ("cell", "picture", "status", "error", "folder")}
        facts["reused"] = "+".join(row["stage"] for row in result["stages"] if row.get("reused"))
        writer.writerow(facts | values[result["cell"]] | _digits(result["measures"]))
    return buffer.getvalue()


def _digits(measures: Measures) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in measures.items()}


def markdown_of(document: dict[str, Any]) -> str:
    """The table of means, the counts and the failures."""
    pictures = ", ".join(picture["name"] for picture in document["pictures"])
    parts = [
        f"# Ablation\n\n{len(document['cells'])} cells on {_plural(len(document['pictures']), 'picture')}: "
        f"{_escaped(pictures)}.",
        markdown_table(table_of(document)),
        "\n".join(f"- {line}" for line in count_lines(document)),
    ]
    failures = failure_lines(document)
    if failures:
        parts.append("## Failed\n\n" + "\n".join(f"- {_escaped(line)}" for line in failures))
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table) -> str:
    """The table alone; the best score of a column is bold."""
    align = [":--" if column < table.num_keys else "--:" for column in range(len(table.heads))]
    lines = [[_escaped(head) for head in table.heads], align]
    for number, row in enumerate(table.rows):
        texts = [_escaped(text) for text in row]
        lines.append([f"**{t}**" if (number, c) in table.best else t for c, t in enumerate(texts)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
