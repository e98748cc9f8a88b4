"""What `mask-rcnn doctor` checks: the installation and the machine."""
