"""From (audio, caption) pairs to a checkpoint."""
