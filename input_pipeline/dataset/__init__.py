"""A prepared data set on disk: its folder, its records, and how they are read."""
