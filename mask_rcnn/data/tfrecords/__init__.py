"""Reads and writes data sets in TFRecord files."""
