"""`python -m edgex`."""

from edgex.program import main

# A process that a conversion starts for one of its stages imports this file too.
if __name__ == "__main__":
    main()
