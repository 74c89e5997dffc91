"""Any artifact and any source of frames → predictions; needs numpy, OpenCV and Pillow only."""
