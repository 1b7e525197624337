"""`uce benchmark`: extraction and evaluation of several methods over a set of pictures; docs/evaluate.md shows how."""
