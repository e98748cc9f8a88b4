"""Data sets: records of images with their objects, and what reads, changes and batches them."""
