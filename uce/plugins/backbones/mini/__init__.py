"""The embedded text-to-image model `mini`: weights and model card; its recipe is `recipes/mini` of the repository."""
