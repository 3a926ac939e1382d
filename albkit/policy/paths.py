"""The path that rules look at (docs/alb.md 2.5, 11.1)."""

from __future__ import annotations

__all__ = ("path_to_match",)


def path_to_match(path: str) -> str:
    """`path` with its `.` and `..` segments resolved, for matching only: what is sent on stays as it came.

    Nothing is percent-decoded and doubled slashes stay (RFC 3986 section 5.2.4 without its decoding).
    """
    if "/." not in path:
        return path
    resolved: list[str] = []
    segments = path.split("/")
    for segment in segments[1:]:
        if segment == "..":
            if resolved:
                resolved.pop()
        elif segment != ".":
            resolved.append(segment)
    if segments[-1] in (".", ".."):
        resolved.append("")
    return "/" + "/".join(resolved)
