"""One file a vendor behind the seam of `engine.py`."""
