"""The `dealsync` command."""

import atexit
import gc

from dealsync.cli import main

ALLOCATIONS = 10_000
"""After how many new objects the youngest are looked through for garbage; Python's own 700 fits small programs."""

# Modules and tables stay: looking through them again and again took a third of what a command needs to start and end.
gc.set_threshold(ALLOCATIONS)
atexit.register(gc.freeze)

if __name__ == "__main__":
    main()
