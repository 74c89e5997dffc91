"""Trained network → artifacts with evidence."""
