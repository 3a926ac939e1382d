"""The action `Redirect`."""

from __future__ import annotations

import re
from typing import Any

import attrs

from albkit.errors import Failure, FailureKind
from albkit.model.actions.action import Answer, AnsweringAction, LocalReply, Origin
from albkit.model.message import RequestHead
from albkit.model.validation import Faults

__all__ = ("Redirect", "location")

_MAX_LOCATION = 8 * 1024
"""Bytes of the Location field, as in ALB (docs/alb.md 4.2)."""
_MAX_PART = 128
_PLACEHOLDER = re.compile(r"#\{([^}]*)\}")
_KNOWN_PLACEHOLDER = re.compile(r"#\{(protocol|host|port|path|query)\}")
_ALLOWED = {
    "protocol": ("protocol",),
    "host": ("host",),
    "port": ("port",),
    "path": ("host", "port", "path"),
    "query": ("protocol", "host", "port", "path", "query"),
}
"""The placeholders that each part can contain."""
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+")
"""Without a port, which is a part of its own."""


def _port(port: Any) -> Any:
    return str(port) if isinstance(port, int) and not isinstance(port, bool) else port


@attrs.frozen(kw_only=True)
class Redirect(AnsweringAction):
    """Redirects the client to another URL (docs/alb.md 4.2). Each part of the URL defaults to that of the request.

    Example:
        alb.Redirect(protocol="HTTPS", port=443, status_code=301)

    Args:
        protocol: `"HTTP"`, `"HTTPS"` or `"#{protocol}"`.
        host: 1 to 128 characters, which can include `#{host}`.
        port: 1 to 65535 as text or number, or `"#{port}"`, which is the port of the listener. Give `port=443` with `protocol="HTTPS"`.
        path: 1 to 128 characters from `/`, which can include `#{host}`, `#{port}` and `#{path}`. `#{path}` has no leading slash.
        query: 0 to 128 characters without the leading `?`, which can include any placeholder.
        status_code: 301 or 302.

    If the Location would exceed 8 KiB, the response is 507. A listener refuses a redirect that leads back to itself with the same URL, and
    one to `https://` on its own port if it has no TLS. If a redirect only might do so, the load balancer logs a warning when it starts.

    Raises:
        ConfigurationError: a part is out of range, or only the query would change (an endless loop).
    """

    protocol: str = "#{protocol}"
    host: str = "#{host}"
    port: str = attrs.field(default="#{port}", converter=_port)
    path: str = "/#{path}"
    query: str = "#{query}"
    status_code: int = 302

    def __attrs_post_init__(self) -> None:
        faults = Faults("Redirect")
        parts = {name: getattr(self, name) for name in _ALLOWED}
        for name, value in parts.items():
            if not isinstance(value, str):
                faults.add(name, f"{value!r} is not text")
                continue
            for placeholder in _PLACEHOLDER.findall(value):
                if placeholder not in _ALLOWED[name]:
                    allowed = ", ".join("#{" + other + "}" for other in _ALLOWED[name])
                    faults.add(name, f"#{{{placeholder}}} is not allowed here; allowed are {allowed}")
        if all(isinstance(value, str) for value in parts.values()):
            self._check_parts(faults)
        if type(self.status_code) is not int or self.status_code not in (301, 302):
            faults.add("status_code", f"{self.status_code!r} is not 301 or 302")
        faults.raise_if_any()

    def _check_parts(self, faults: Faults) -> None:
        if self.protocol not in ("HTTP", "HTTPS", "#{protocol}"):
            faults.add("protocol", f"{self.protocol!r} is not 'HTTP', 'HTTPS' or '#{{protocol}}'")
        if not 1 <= len(self.host) <= _MAX_PART or not _HOST.fullmatch(_PLACEHOLDER.sub("x", self.host)):
            faults.add("host", f"{self.host!r} is not a host of 1 to {_MAX_PART} characters")
        if self.port != "#{port}" and not (re.fullmatch(r"[0-9]{1,5}", self.port) and 1 <= int(self.port) <= 65535):
            faults.add("port", f"{self.port!r} is not a port; 1 to 65535 or '#{{port}}'")
        if not self.path.startswith("/") or len(self.path) > _MAX_PART or not _is_url_text(self.path):
            faults.add("path", f"{self.path!r} is not a path; 1 to {_MAX_PART} visible characters from '/'")
        if len(self.query) > _MAX_PART or self.query.startswith("?") or not _is_url_text(self.query):
            faults.add("query", f"{self.query!r} is not a query; 0 to {_MAX_PART} visible characters without a leading '?'")
        if (self.protocol, self.host, self.port, self.path) == ("#{protocol}", "#{host}", "#{port}", "/#{path}"):
            faults.add("", "at least one of protocol, host, port and path must change, or the client is redirected in an endless loop")

    def describe(self) -> str:
        """Return the action in words."""
        query = f"?{self.query}" if self.query else ""
        return f"redirect {self.status_code} to {self.protocol}://{self.host}:{self.port}{self.path}{query}"

    def compile(self) -> Answer:
        """Return a function that answers a request, or raises Failure (507) if the Location would be too long."""

        def answer(request: RequestHead, origin: Origin) -> LocalReply:
            to = location(self, request, *origin(request.client)).encode("utf-8", "surrogateescape")
            if len(to) > _MAX_LOCATION:
                raise Failure(FailureKind.REDIRECT_TOO_LONG, f"{len(to)} bytes")
            return LocalReply(self.status_code, None, "text/html", "redirect", "redirects", to)

        return answer


def _is_url_text(text: str) -> bool:
    return re.fullmatch(r"[!-~]*", text) is not None


def location(redirect: Redirect, request: RequestHead, protocol: str, port: int) -> str:
    """Return the Location for a request. It always contains a port, as in ALB.

    Args:
        redirect: The action.
        request: Its parts replace the placeholders, exactly as the client sent them.
        protocol: `http` or `https`, as the client sees it.
        port: The port as the client sees it.
    """
    parts = {
        "protocol": protocol,
        "host": request.host,
        "port": str(port),
        "path": request.path.removeprefix("/"),
        "query": request.query_string,
    }

    def filled(template: str) -> str:
        return _KNOWN_PLACEHOLDER.sub(lambda match: parts[match[1]], template)

    query = filled(redirect.query)
    scheme = filled(redirect.protocol).lower()
    return f"{scheme}://{filled(redirect.host)}:{filled(redirect.port)}{filled(redirect.path)}" + (f"?{query}" if query else "")
