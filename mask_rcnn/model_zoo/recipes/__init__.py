"""One file a recipe: a function of the same name that returns its `Config`."""
