"""Repeats the comparisons of the Mask R-CNN paper: each row of a table is a config change."""
