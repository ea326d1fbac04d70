"""`python -m upscore` is the command `upscore`."""

from upscore.cli import main

if __name__ == "__main__":
    main()
