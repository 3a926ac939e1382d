"""The path that rules compare (docs/alb.md 2.5, 11.1)."""

from __future__ import annotations

__all__ = ("path_to_match",)


def path_to_match(path: str) -> str:
    """Return a path with its `.` and `..` segments resolved (RFC 3986 section 5.2.4).

    The result is for matching only: the target gets the path exactly as the client sent it. Nothing is percent-decoded, and double slashes
    stay.
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
