"""The two towers, their heads, and checkpoints on disk."""
