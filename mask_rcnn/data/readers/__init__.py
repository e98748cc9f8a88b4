"""Reads COCO json files and results files, and checks and repairs their entries."""
