"""The plugin that makes proxy.py a reverse proxy: every path goes to one of the targets."""

from __future__ import annotations

import itertools
import os
from typing import Any

from proxy.http import Url
from proxy.http.server import ReverseProxyBasePlugin

_TARGETS = itertools.cycle(os.environ["BENCHMARK_TARGETS"].split(","))


class Routes(ReverseProxyBasePlugin):  # type: ignore[misc, unused-ignore]
    """Forwards every request to the next target."""

    def routes(self) -> list[Any]:
        return [r"/.*"]

    def handle_route(self, request: Any, pattern: Any) -> Any:  # noqa: ARG002
        return Url.from_bytes(b"http://127.0.0.1:%s%s" % (next(_TARGETS).encode(), request.path))
