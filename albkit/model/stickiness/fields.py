"""Fields that several kinds of stickiness have: their converters and checks."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from albkit.model.names import TOKEN
from albkit.model.validation import Faults, as_tuple

__all__ = ("as_secrets", "check_cookie_name", "check_query_parameter", "check_secrets")

_MIN_SECRET = 16
_MAX_NAME = 256
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]{1,256}")
"""Characters that no client percent-encodes in a query (RFC 3986 section 2.3)."""


def as_secrets(value: Any) -> tuple[Any, ...]:
    """Return one secret or several as a tuple, text as bytes."""
    return tuple(secret.encode() if isinstance(secret, str) else secret for secret in as_tuple(value))


def check_secrets(faults: Faults, secrets: tuple[object, ...]) -> None:
    """Add a fault for each secret that is too short, and one if the package that they need is missing."""
    for index, secret in enumerate(secrets):
        if not isinstance(secret, bytes) or len(secret) < _MIN_SECRET:
            # The message does not show the secret: it may be a real one with a typing error.
            faults.add(f"secrets[{index}]", f"is not text or bytes of at least {_MIN_SECRET} bytes; secrets.token_urlsafe(32) makes one")
    if secrets and find_spec("cryptography") is None:
        faults.add("secrets", "need the package cryptography; pip install 'albkit[secrets]'")


def check_cookie_name(faults: Faults, name: object) -> None:
    """Add a fault unless the value is the name of a cookie."""
    if not isinstance(name, str) or not TOKEN.fullmatch(name) or len(name) > _MAX_NAME:
        faults.add(
            "cookie_name",
            f"{name!r} is not the name of a cookie: 1 to {_MAX_NAME} letters, digits and !#$%&'*+-.^_`|~ (RFC 6265 section 4.1.1)",
        )


def check_query_parameter(faults: Faults, name: object) -> None:
    """Add a fault unless the value is the name of a query parameter, or `None`."""
    if name is not None and not (isinstance(name, str) and _PARAMETER.fullmatch(name)):
        faults.add("query_parameter", f"{name!r} is not the name of a parameter: 1 to {_MAX_NAME} letters, digits and -._~, or None")
