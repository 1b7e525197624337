"""What people hold in their hands: a finished ablation."""

from __future__ import annotations

from typing import Any

from uce.ablation.folder import AblationFolder
from uce.core.work.held import Run
from uce.many.result import Results


class Ablation(Results[AblationFolder]):
    """An ablation's folder, read; `document` is ablation.json."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One per cell and picture: "cell", "picture", "status", the varied keys and every measure."""
        values = {cell["name"]: cell["values"] for cell in self.document["cells"]}
        facts = ("cell", "picture", "status")
        return [
            {**{key: row[key] for key in facts}, **values[row["cell"]], **row["measures"]}
            for row in self.document["results"]
        ]

    @property
    def means(self) -> list[dict[str, Any]]:
        """One per configuration, over pictures and seeds: "cell" (its first), "title", "settings" that differ,
        "pictures", "runs", "failed", the varied keys, the measures, their "spread" (standard deviation), and their
        "difference" from the base row ("mean", "low", "high", "sign")."""
        facts = ("cell", "title", "settings", "pictures", "runs", "failed", "spread", "difference")
        return [{**{k: row[k] for k in facts}, **row["values"], **row["measures"]} for row in self.document["means"]]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Stage -> {"computed", "reused"}."""
        found: dict[str, dict[str, int]] = self.document["counts"]
        return found

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The results that failed: "cell", "picture", "error"."""
        return [result for result in self.document["results"] if result["status"] == "failed"]

    def run(self, cell: str, picture: str | None = None) -> Run:
        """A cell's run; `picture` may be left out where there is one.

        Raises:
            RunFolderError: that cell left no run.
        """
        picture = picture or self.document["pictures"][0]["name"]
        return self._open(picture, cell)

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        files = {kind: f"ablation.{kind}" for kind in ("csv", "md", "tex", "html")}
        return {"folder": str(self.path), **self.document, "files": files}

    def __len__(self) -> int:
        return len(self.document["cells"])
