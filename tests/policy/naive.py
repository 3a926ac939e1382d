"""Slow and obvious twins of what the policy floor does quickly."""

from __future__ import annotations

from functools import cache


def matches(pattern: str, text: str) -> bool:
    """Whether the whole of a text matches a wildcard pattern, by trying everything."""

    @cache
    def rest_matches(place: int, position: int) -> bool:
        if place == len(pattern):
            return position == len(text)
        if pattern[place] == "*":
            return rest_matches(place + 1, position) or (position < len(text) and rest_matches(place, position + 1))
        return position < len(text) and pattern[place] in ("?", text[position]) and rest_matches(place + 1, position + 1)

    return rest_matches(0, 0)


def without_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4, step by step."""
    output = ""
    while path:
        if path.startswith("../"):
            path = path[3:]
        elif path.startswith(("./", "/./")):
            path = path[2:]
        elif path == "/.":
            path = "/"
        elif path.startswith("/../"):
            path = path[3:]
            output = output[: max(output.rfind("/"), 0)]
        elif path == "/..":
            path = "/"
            output = output[: max(output.rfind("/"), 0)]
        elif path in (".", ".."):
            path = ""
        else:
            end = path.find("/", 1)
            segment = path if end < 0 else path[:end]
            output += segment
            path = path[len(segment) :]
    return output
