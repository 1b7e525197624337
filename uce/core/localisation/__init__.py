"""What finds things: distances, FINCH, points, graph cuts, regions, candidates. Arrays in, arrays out.

No model and no plugin is called from here; the clusterers and refiners call it. Begin with `candidates.py`.
"""
