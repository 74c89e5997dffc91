"""Reads and writes the contract in each file format."""
