"""Files, processes, memory and terminals: the parts that know no detector."""
