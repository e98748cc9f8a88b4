"""Reads image files: headers, pixels, windows."""
