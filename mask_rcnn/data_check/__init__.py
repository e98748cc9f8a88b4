"""Checks data sets for `mask-rcnn data check`: problems, their effect on training, and how to fix them."""
