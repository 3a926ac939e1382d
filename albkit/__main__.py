"""`python -m albkit` is the same as the command `albkit`."""

from albkit.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
