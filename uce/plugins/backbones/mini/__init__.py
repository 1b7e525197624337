"""The embedded text-to-image model `mini`: weights, recipe and model card."""
