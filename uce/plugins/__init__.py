"""What ships as default, one file per method, registered through the same hooks as anybody's."""
