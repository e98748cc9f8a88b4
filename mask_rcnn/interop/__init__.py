"""Converts `Detections` to and from the formats of other packages. `Detections` has a method for each."""
