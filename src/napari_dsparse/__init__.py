"""Interactive microscopy segmentation from a few painted strokes."""
