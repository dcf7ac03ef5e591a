"""What goes out and comes back: models, and results in the formats other programs open."""
