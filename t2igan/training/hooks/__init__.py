"""Hooks beside the training steps: validation, metrics, images, the collapse monitor."""
