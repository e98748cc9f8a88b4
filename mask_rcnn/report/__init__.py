"""A report on an evaluation: which errors cost how much AP, where they are, and how two runs differ."""
