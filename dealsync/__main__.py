"""The `dealsync` command."""

from dealsync.cli import main

if __name__ == "__main__":
    main()
