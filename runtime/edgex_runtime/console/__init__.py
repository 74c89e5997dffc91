"""The console: a page in the browser that shows a live run, and steers it."""
