"""Where frames come from, behind the seam of `source.py`."""
