"""What all metrics share: image sets, feature rows, results with provenance."""
