"""Which preset suits a model: both tried on photographs."""
