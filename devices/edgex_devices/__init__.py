"""Boards: what is known of them, and how a bundle gets there and stays right."""
