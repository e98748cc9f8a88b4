"""The checks of `mask-rcnn doctor`: the installation and the machine."""
