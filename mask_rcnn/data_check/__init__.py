"""What is wrong with a data set, how it hurts training, and what to do: `mask-rcnn data check`."""
