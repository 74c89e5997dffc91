"""What runs on a board before anything is installed there: Python's own library and two small files of the runtime."""
