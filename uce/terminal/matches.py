"""What the terminal shows of concepts that are the same thing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from uce.core.files.paths import shown_path
from uce.terminal.tables import text_table

if TYPE_CHECKING:
    from uce.matching.match import Matches


def show_matches(matches: Matches, as_json: bool) -> None:
    """A row per thing, the picture to confirm by, and the lines that learn them."""
    if as_json:
        print(json.dumps(matches.summary(), indent=2))
        return
    if matches.things:
        rows = [
            [
                thing.name,
                "  ".join(f"{folder}:{number}" for folder, number in thing.places.items()),
                f"{thing.score:.2f}",
            ]
            for thing in matches.things
        ]
        print(*text_table([["thing", "where", "score"], *rows], 2, "   "), sep="\n")
    else:
        print(f"nothing scores {matches.threshold:g} or more; lower --threshold to see what comes nearest")
    if matches.picture is not None:
        print(f"\nlook at {shown_path(matches.picture)}" + (", then:" if matches.things else ""))
    print(*matches.commands, sep="\n", end="\n" if matches.commands else "")
