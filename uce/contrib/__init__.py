"""Other people's methods, re-implemented from their papers on the same hooks."""
