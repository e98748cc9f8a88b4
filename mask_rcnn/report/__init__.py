"""Reports on an evaluation: cost of each kind of error in AP, where errors are, comparison of two runs."""
