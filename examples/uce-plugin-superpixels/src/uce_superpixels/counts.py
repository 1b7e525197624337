"""A wrapper that is installed, and therefore at work in every run: it changes nothing.

An observer is told what comes out of a stage; a wrapper also sees what went in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

import uce

if TYPE_CHECKING:
    from uce.core import Concepts

VARIABLE = "UCE_CONCEPT_COUNTS"


class ConceptCounts:
    """Says on stderr how many concepts each refiner keeps, where UCE_CONCEPT_COUNTS=1; results stay as they are."""

    name = "concept-counts"

    @uce.hookimpl(wrapper=True)
    def uce_refine_masks(self, concepts: Concepts) -> Generator[None, Concepts, Concepts]:
        """Count before and after, whichever refiner is selected; the result is handed on untouched."""
        before = len(concepts)
        refined = yield
        if os.environ.get(VARIABLE) == "1":
            print(f"refiner: {before} concepts in, {len(refined)} out", file=sys.stderr)
        return refined
