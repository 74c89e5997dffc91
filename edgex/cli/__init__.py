"""The command line: parse → typed config → one library call → print."""

from edgex.cli.main import convert_model, main

__all__ = ["convert_model", "main"]
