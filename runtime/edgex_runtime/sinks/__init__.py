"""Where results go, behind the seam of `sink.py`."""
