"""What a run does beside its steps: validation, metrics, images, the mode-collapse monitor."""
