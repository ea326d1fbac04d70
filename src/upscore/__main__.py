"""The command `upscore`, also as `python -m upscore`."""

import sys

from upscore.errors import extra_of


def main() -> None:
    """Run the command, or say which package it needs and how to install it."""
    try:
        from upscore.cli import main as run

        run()
    except ModuleNotFoundError as error:
        extra = extra_of(sys.argv[1] if len(sys.argv) > 1 else "predict")
        sys.exit(f"upscore: this needs {error.name}: pip install 'upscore[{extra}]'")


if __name__ == "__main__":
    main()
