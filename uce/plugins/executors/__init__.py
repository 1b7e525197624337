"""Who works on the pictures of a batch."""
