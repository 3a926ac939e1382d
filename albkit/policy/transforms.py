"""Rewrites requests before they are forwarded. The rule has been chosen by then (docs/alb.md 2.6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead
from albkit.model.regex import compile_regex
from albkit.model.transforms import Transform, UrlRewrite
from albkit.state.record import Transformation

__all__ = ("Rewrite", "compile_transforms")

Rewrite = Callable[[RequestHead, Transformation], None]
"""Rewrites the lines of a request, and notes the result."""

_URL = re.compile(r"/[^\x00-\x20\x7f#]*")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::(?P<port>[0-9]{1,5}))?")


def compile_transforms(transforms: Sequence[Transform]) -> Rewrite | None:
    """Return a function that rewrites the lines of a request; `None` if there are no transforms.

    The function raises Failure (500) if the result is not a path, or not a host.
    """
    rewrites = [_url(item) if isinstance(item, UrlRewrite) else _host(item.regex, item.replace) for item in transforms]
    if not rewrites:
        return None

    def rewrite(request: RequestHead, result: Transformation) -> None:
        for one in rewrites:
            one(request, result)

    return rewrite


def _url(transform: UrlRewrite) -> Rewrite:
    substitute = _substitute(transform.regex, transform.replace, ignore_case=False)

    def rewrite(request: RequestHead, transformation: Transformation) -> None:
        url = f"{request.path}?{request.query_string}" if request.query_string else request.path
        result = substitute(url)
        if result is None:
            return
        if not _URL.fullmatch(result):
            transformation.status = "TransformInvalidPath"
            raise Failure(FailureKind.TRANSFORM_FAILED, f"the URL became {result[:100]!r}")
        request.lines[0] = f"{request.method} {result} HTTP/1.1".encode("utf-8", "surrogateescape")
        transformation.url = result

    return rewrite


def _host(regex: str, replace: str) -> Rewrite:
    substitute = _substitute(regex, replace, ignore_case=True)

    def rewrite(request: RequestHead, transformation: Transformation) -> None:
        place = next(place for place, line in enumerate(request.lines) if line[:5].lower() == b"host:")
        value = request.lines[place][5:].strip().decode("latin-1")
        host, port = _without_port(value)
        result = substitute(host)
        if result is None and port and request.headers.get("Host", "").strip().lower() == value.lower():
            # The client sent this port; the load balancer did not append it. The expression may match host and port together.
            result, port = substitute(value), ""
        if result is None:
            return
        match = _HOST.fullmatch(result)
        if match is None or int(match["port"] or 0) > 65535:
            transformation.status = "TransformInvalidHost"
            raise Failure(FailureKind.TRANSFORM_FAILED, f"the host became {result[:100]!r}")
        if match["port"] is None:
            result += port
        request.lines[place] = b"Host: " + result.encode("ascii")
        transformation.host = result

    return rewrite


def _without_port(value: str) -> tuple[str, str]:
    """Return the host, and the port with its colon, which is empty if there is none."""
    host, colon, port = value.rpartition(":")
    return (host, colon + port) if port.isdigit() and not value.endswith("]") else (value.removesuffix(":"), "")


def _substitute(regex: str, replace: str, *, ignore_case: bool) -> Callable[[str], str | None]:
    """Return a function that replaces the first match in a text, or returns `None` if nothing matches."""
    search = compile_regex(regex, ignore_case=ignore_case).search
    parts = re.split(r"\$([0-9]+)", replace)

    def substitute(text: str) -> str | None:
        # Bytes that are not UTF-8 arrive as lone surrogates. RE2 works on UTF-8, which cannot encode them.
        match = search(text if text.isascii() else text.encode("utf-8", "replace").decode())
        if match is None:
            return None
        filled = "".join((match.group(int(part)) or "") if odd % 2 else part for odd, part in enumerate(parts))
        start, end = match.span()
        return text[:start] + filled + text[end:]

    return substitute
