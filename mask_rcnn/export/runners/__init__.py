"""Runners of exported models. Each file runs without the rest of mask_rcnn, except `keras_runner`."""
