"""nghttp2's programs: nghttpx as a proxy, and nghttpd as the target of HTTP/2 and gRPC."""

from __future__ import annotations

from typing import Final

from benchmarks.answers import BODY, GRPC_MESSAGE, GRPC_METHOD
from benchmarks.measure import MeasurementError, installed, said
from benchmarks.peers.peer import Need, Peer, Place

__all__ = ("PEER", "target")


def _proxy(place: Place) -> list[str]:
    protocol = "" if place.setup.target_protocol == "HTTP1" else ";;proto=h2"
    program = [str(installed("nghttpx")), "--conf=/dev/null", "--workers=1", "--single-process", "--log-level=ERROR", "--no-ocsp"]
    program += ["--errorlog-file=/dev/stderr", "--add-x-forwarded-for", "--frontend-http2-read-timeout=5m", "--backlog=4096"]
    program += [f"--backend=127.0.0.1,{target}{protocol}" for target in place.targets]
    program.append(f"--frontend=127.0.0.1,{place.port}{';no-tls' if place.shown is None else ''}")
    if place.shown is not None:
        program += [str(place.shown.key), str(place.shown.certificate)]
    return program


def target(place: Place) -> list[str]:
    """The target: small responses with a length, or gRPC messages with trailers, on its only port. It ignores what it receives."""
    nghttpd = installed("nghttpd")
    if nghttpd is None:
        raise MeasurementError("nghttpd is not installed, but required as the target: apt-get install nghttp2-server")
    (port,) = place.targets
    root = place.directory / "root"
    types = place.directory / "types"
    types.write_text("text/plain txt\n")
    options = []
    if place.setup.target_protocol == "GRPC":
        file = root / GRPC_METHOD[1:]
        file.parent.mkdir(parents=True)
        file.write_bytes(GRPC_MESSAGE)
        types.write_text(f"application/grpc {file.suffix[1:]}\n")
        options = ["--no-content-length", "--trailer=grpc-status: 0"]
    else:
        root.mkdir()
        (root / "x").write_bytes(BODY)
    where = [f"--htdocs={root}", f"--mime-types-file={types}", "--address=127.0.0.1"]
    if place.shown is not None:
        return [nghttpd, *where, *options, str(port), str(place.shown.key), str(place.shown.certificate)]
    return [nghttpd, "--no-tls", *where, *options, str(port)]


PEER: Final = Peer(
    "nghttpx",
    "nghttpx, one worker; HTTP/2 only",
    _proxy,
    needs=(Need("apt", "nghttp2-proxy", lambda: installed("nghttpx") is not None),),
    version=lambda: said("nghttpx", "--version").rpartition("/")[2],
    http1=False,
    tunnels=False,
    http2=True,
    target_protocols=("HTTP1", "HTTP2", "GRPC"),
)
