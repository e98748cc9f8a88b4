"""The comparisons of the Mask R-CNN paper: tables of rows, each a change of a config that is trained."""
