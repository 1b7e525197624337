"""Superpixels for uce: a clusterer, a wrapper that reports, and a wrapper that changes results when asked to."""
