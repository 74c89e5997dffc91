"""Draws photo-like pictures of hand-drawn signs, to train and to hold up to a camera."""
