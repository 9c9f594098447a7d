"""A module whose import ends with an error of its own."""

raise RuntimeError("no configuration")
