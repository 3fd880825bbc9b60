"""State, step, parallelism, checkpoints and the loop."""
