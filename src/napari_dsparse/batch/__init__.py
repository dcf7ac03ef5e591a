"""Whole images segmented, and their results written: for commands and for the window."""
