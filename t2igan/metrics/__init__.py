"""One file a metric, named by its protocol."""
