"""What is said of a machine's facts: pure functions, one file an area."""
