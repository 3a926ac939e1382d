"""The command line: `albkit demo` and `albkit --version`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from albkit import demo
from albkit.version import __version__

__all__ = ("main",)

_DEMO_PORT = 8080
_DEMO_HTTPS_PORT = 8443
_INTERRUPTED = 130
"""The status that shells report for a process that SIGINT has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The arguments behind the command's name; those of the process by default.

    Returns:
        The exit status: 0 for success, 1 if a check failed or a port cannot be opened, 130 after Ctrl-C. Wrong usage exits with 2.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.check:
            return demo.check(options.port or 0, options.https_port or 0, options.admin_port)
        port, https_port = options.port, options.https_port
        if https_port is None:
            https_port = _DEMO_HTTPS_PORT if port is None else 0
        return demo.serve(_DEMO_PORT if port is None else port, https_port, options.admin_port, traffic=options.traffic)
    except BrokenPipeError:
        # The reader of our output has gone (`albkit demo | head -1`). At exit the interpreter flushes stdout once more and would report the
        # same error: https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"albkit: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="albkit", description="An Application Load Balancer that you import.")
    parser.add_argument("--version", action="version", version=f"albkit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = commands.add_parser(
        "demo",
        help="run a load balancer in front of three targets, to try it out",
        description="Run a load balancer on 127.0.0.1 in front of three embedded targets that serve a page, an API and a WebSocket chat.",
    )
    command.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help=f"the port to listen on; 0 takes a free one (default: {_DEMO_PORT}; with --check, a free one)",
    )
    command.add_argument(
        "--https-port",
        type=_port,
        metavar="N",
        help=f"the port for HTTPS, which needs albkit[tls] (default: {_DEMO_HTTPS_PORT}; with --port or --check, a free one)",
    )
    command.add_argument(
        "--admin-port",
        type=_port,
        default=0,
        metavar="N",
        help="the port of the admin API and its live page, on 127.0.0.1; 0 takes a free one (default: 0)",
    )
    command.add_argument(
        "--traffic", action="store_true", help="send traffic to look at on the live page: a few requests per second, and WebSockets"
    )
    command.add_argument("--check", action="store_true", help="test the demo with real clients, print one line per test, and exit")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to 65535")
    return int(text)
