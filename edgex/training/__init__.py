"""Photos → a trained checkpoint with its contract."""
