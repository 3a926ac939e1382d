"""Autobahn's fuzzing server on a free port of the loopback interface. Prints the port when it listens.

    python fuzzing_server.py SPECIFICATION

Runs in the suite's own environment. What the suite starts by itself listens on all interfaces.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import autobahntestsuite  # noqa: F401 - chooses the reactor, before Twisted does
from autobahntestsuite.fuzzing import FuzzingServerFactory
from twisted.internet import reactor


def main(specification: str) -> None:
    port_goes_to = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        factory = FuzzingServerFactory(json.loads(Path(specification).read_text()))
        # Otherwise it answers 400 to a Host whose port is not its own.
        factory.externalPort = None
        listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
        print(listening.getHost().port, file=port_goes_to, flush=True)
        reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
