"""The engine of all metrics: image sets, feature rows, results with provenance."""
