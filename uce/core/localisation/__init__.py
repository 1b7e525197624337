"""What finds things: distances, FINCH, points, graph cuts, regions, candidates. Arrays in, arrays out.

No model and no plugin is called from here; the clusterers and refiners call it. Begin with `candidates.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.faces import face

_HOMES = {
    "candidate_concepts": "candidates",
    "mean_maps": "candidates",
    "saliency_scores": "candidates",
    "with_masks": "candidates",
    "symmetric_kl": "distance",
    "Partition": "finch",
    "choose_partition": "finch",
    "finch_partitions": "finch:finch",
    "mean_rows": "finch",
    "Cells": "foreground",
    "Floats": "foreground",
    "Masks": "foreground",
    "Weights": "foreground",
    "bonds": "foreground",
    "bounded": "foreground",
    "bright": "foreground",
    "edge_contrast": "foreground",
    "parts_of": "foreground",
    "salient_cells": "foreground",
    "shown_cells": "foreground",
    "walked": "foreground",
    "cheapest_cut": "graph_cuts",
    "leading": "graph_cuts",
    "normalized": "graph_cuts",
    "best_count": "points",
    "hellinger_coordinates": "points",
    "in_raster_order": "points",
    "num_distinct": "points",
    "places": "points",
    "quietly": "points",
    "widest_cluster": "points",
    "components": "regions",
    "touching": "regions",
    "union": "regions",
    "background_likeness": "surroundings",
    "cell_colours": "surroundings",
    "colours": "surroundings",
    "gaps": "surroundings",
    "open_outline": "surroundings",
}

__all__ = [
    "Cells",
    "Floats",
    "Masks",
    "Partition",
    "Weights",
    "background_likeness",
    "best_count",
    "bonds",
    "bounded",
    "bright",
    "candidate_concepts",
    "cell_colours",
    "cheapest_cut",
    "choose_partition",
    "colours",
    "components",
    "edge_contrast",
    "finch_partitions",
    "gaps",
    "hellinger_coordinates",
    "in_raster_order",
    "leading",
    "mean_maps",
    "mean_rows",
    "normalized",
    "num_distinct",
    "open_outline",
    "parts_of",
    "places",
    "quietly",
    "saliency_scores",
    "salient_cells",
    "shown_cells",
    "symmetric_kl",
    "touching",
    "union",
    "walked",
    "widest_cluster",
    "with_masks",
]

if TYPE_CHECKING:
    from uce.core.localisation.candidates import candidate_concepts, mean_maps, saliency_scores, with_masks
    from uce.core.localisation.distance import symmetric_kl
    from uce.core.localisation.finch import Partition, choose_partition, mean_rows
    from uce.core.localisation.finch import finch as finch_partitions
    from uce.core.localisation.foreground import (
        Cells,
        Floats,
        Masks,
        Weights,
        bonds,
        bounded,
        bright,
        edge_contrast,
        parts_of,
        salient_cells,
        shown_cells,
        walked,
    )
    from uce.core.localisation.graph_cuts import cheapest_cut, leading, normalized
    from uce.core.localisation.points import (
        best_count,
        hellinger_coordinates,
        in_raster_order,
        num_distinct,
        places,
        quietly,
        widest_cluster,
    )
    from uce.core.localisation.regions import components, touching, union
    from uce.core.localisation.surroundings import background_likeness, cell_colours, colours, gaps, open_outline

__getattr__, __dir__ = face(__name__, _HOMES)
