"""A run's folder: config, metrics, samples and checkpoints."""
