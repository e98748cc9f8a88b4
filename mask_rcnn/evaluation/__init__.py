"""COCO's evaluation of detections and of models."""
