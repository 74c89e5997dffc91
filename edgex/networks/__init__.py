"""The reference network and its weights."""
