"""Masks, keypoints and detections of several views, from the outputs of a model to the image."""
