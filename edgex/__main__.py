"""`python -m edgex`."""

from edgex.cli import main

main()
