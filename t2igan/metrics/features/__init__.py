"""Feature extractors that metrics read images with."""
