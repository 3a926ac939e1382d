"""The command `albkit`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from albkit import __version__, demo

__all__ = ("main",)

_DEMO_PORT = 8080


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, the program's own by default.

    Returns:
        The exit code: 0 for success; 1 when a check failed or a port cannot be opened. Wrong usage exits with 2.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.check:
            return demo.check(options.port or 0)
        return demo.serve(_DEMO_PORT if options.port is None else options.port)
    except BrokenPipeError:
        # Whoever read our output left. Without this the interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"albkit: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="albkit", description="An Application Load Balancer that you import.")
    parser.add_argument("--version", action="version", version=f"albkit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = commands.add_parser(
        "demo",
        help="run a gateway in front of three targets to play with",
        description="Run a gateway on 127.0.0.1 in front of three embedded targets, with a page, an API and a chat to play with.",
    )
    command.add_argument(
        "--port", type=_port, metavar="N", help=f"the gateway's port; 0 takes a free one (default: {_DEMO_PORT}, with --check a free one)"
    )
    command.add_argument("--check", action="store_true", help="walk the demo's tour with real clients, show each outcome, and exit")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; 0 to 65535")
    return int(text)
