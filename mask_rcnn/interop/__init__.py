"""`Detections` to the forms of other packages and tools, and back; `Detections` has a method for each."""
