"""`python -m albkit` runs the command `albkit`."""

from albkit.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
