"""From captions and pictures on disk to batches on devices."""
