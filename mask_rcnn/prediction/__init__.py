"""Predictors: from image files to detections."""
