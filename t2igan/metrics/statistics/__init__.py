"""Functions of feature rows: numpy in, numbers out; no network, no files."""
