"""Binds the sockets that listeners listen on: ports, unix sockets, and sockets that the process has inherited."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from albkit.model.listener import Listener
from albkit.proxy.accept.acceptor import Acceptor, Admission, Server

__all__ = ("Bound", "SocketFile", "change_backlog", "open_sockets", "reached_at", "release", "serve_on", "told_port")

_FIRST_INHERITED: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
_COUNT = re.compile(r"[0-9]{1,5}")
_UNNAMED: Final = "unknown"
"""What systemd calls a descriptor whose name it does not tell."""
_PORT_OF_UNIX: Final = 80
"""What targets are told of a listener that has no port; where it speaks TLS the other."""
_SECURE_PORT_OF_UNIX: Final = 443
_BY_NUMBER: Final = "give the descriptor's number"


@attrs.frozen
class SocketFile:
    """The file of a unix socket as it was behind bind()."""

    path: Path
    """Absolute, so that a change of the working directory does not matter."""
    device: int
    inode: int

    def remove(self) -> None:
        """Remove the file if it still is the one that was made."""
        with suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                self.path.unlink()


@attrs.frozen
class Bound:
    """The sockets of one listener, bound and non-blocking, and what to clean up behind them."""

    sockets: list[socket.socket]
    file: SocketFile | None = None


class _Told(OSError):
    """A failure that says already what to do."""


class _NoSuchFamily(Exception):
    """The machine does not speak this address family."""


async def open_sockets(listener: Listener, loop: asyncio.AbstractEventLoop) -> Bound:
    """Bind what a listener listens on.

    Returns:
        Sockets that listen, but for inherited ones, which may. Two programs can bind one port, and only listening shows it; until a unix
        socket listens another program would take its file for a stale one.

    Raises:
        OSError: it cannot be bound; the text says where, why and what to do.
    """
    host, port = listener.host, listener.port
    inherited, path = listener.inherited_socket, listener.socket_path
    if inherited is not None:
        where, advice = f"the inherited socket {inherited!r}", _ADVICE_FOR_INHERITED
    elif path is not None:
        where, advice = f"unix:{path}", _ADVICE_FOR_PATHS
    else:
        where, advice = f"{host or '*'}:{port}", _ADVICE_FOR_SHARED_PORTS if listener.reuse_port else _ADVICE_FOR_PORTS
    try:
        if inherited is not None:
            return Bound(_inherited(inherited, os.environ))
        if path is not None:
            return await _bind_path(path, listener, loop)
        if host is None:
            return Bound(_listening([_bind_everywhere(port, listener.reuse_port)], listener.backlog))
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((int(family), tuple(address)) for family, _, _, _, address in found))
        return Bound(_listening(_bind_each(addresses, port, listener.reuse_port), listener.backlog))
    except OSError as error:
        reason = error.strerror if isinstance(error, _Told) else advice.get(error.errno or 0, str(error))
        raise OSError(error.errno, f"cannot listen on {where}: {reason}") from None


def _listening(sockets: list[socket.socket], backlog: int) -> list[socket.socket]:
    try:
        for sock in sockets:
            sock.listen(backlog)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def release(file: SocketFile | None, loop: asyncio.AbstractEventLoop) -> None:
    """Remove the file of a unix socket, unless it is another one by now.

    Call it while the socket is open: until it is closed no other file gets its inode, and no other program takes it for a stale one.
    """
    if file is not None:
        await asyncio.shield(loop.run_in_executor(None, file.remove))


async def serve_on(
    sock: socket.socket, loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.BaseProtocol], doorman: Admission, backlog: int
) -> Server:
    """A server on a socket of `open_sockets`, which it owns; it never removes its file.

    It accepts once its `start_serving` is called. A cancelled `create_server` that accepts at once would never be closed.
    """
    if isinstance(loop, asyncio.SelectorEventLoop):
        return Acceptor(sock, loop, protocol, doorman, backlog)
    if sock.family == socket.AF_UNIX and not isinstance(loop, asyncio.BaseEventLoop):
        # uvloop takes unix sockets here only. With Python 3.13 and later it would remove the file, also of a socket that is inherited.
        create: Callable[..., Any] = loop.create_unix_server
        server: Server = await create(protocol, sock=sock, backlog=backlog, cleanup_socket=False, start_serving=False)
        return server
    return await loop.create_server(protocol, sock=sock, backlog=backlog, start_serving=False)


def change_backlog(server: Server, backlog: int) -> None:
    """Let so many connections wait from now on, on every socket of a server."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as sock:
            sock.listen(backlog)


def told_port(listener: Listener, sock: socket.socket) -> int:
    """The port that targets are told."""
    if sock.family == socket.AF_UNIX:
        return listener.port or (_SECURE_PORT_OF_UNIX if listener.is_secure else _PORT_OF_UNIX)
    port: int = sock.getsockname()[1]
    return listener.port or port if listener.inherited_socket is not None else port


def reached_at(listener: Listener, sock: socket.socket) -> str:
    """Where a client on this machine reaches a socket: `host:port`, or `unix:` and its path."""
    if sock.family == socket.AF_UNIX:
        return listener.host or f"unix:{os.fsdecode(sock.getsockname())}".replace("\0", "@")
    host, port = sock.getsockname()[:2]
    if host == "::":
        host = "::1" if sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) else "127.0.0.1"
    elif host == "0.0.0.0":  # noqa: S104 - this compares, it does not bind
        host = "127.0.0.1"
    elif listener.host is not None:
        host = listener.host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# Ports.


def _bind_everywhere(port: int, reuse_port: bool) -> socket.socket:
    """One socket for IPv4 and IPv6, so that a free port is the same for both; IPv4 alone where there is no IPv6."""
    if socket.has_dualstack_ipv6():
        with suppress(_NoSuchFamily):
            return _bound(socket.AF_INET6, ("::", port), reuse_port, dual=True)
    return _bound(socket.AF_INET, ("0.0.0.0", port), reuse_port)  # noqa: S104 - all interfaces is what was asked for


def _bind_each(addresses: Sequence[tuple[int, tuple[Any, ...]]], port: int, reuse_port: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            chosen = sockets[0].getsockname()[1] if sockets else port
            with suppress(_NoSuchFamily):
                sockets.append(_bound(family, (address[0], chosen, *address[2:]), reuse_port))
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "none of its addresses can be used")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bound(family: int, address: tuple[Any, ...], reuse_port: bool, *, dual: bool = False) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _NoSuchFamily from error
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            _share_port(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if family == socket.AF_INET6 and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise _NoSuchFamily from error
        raise
    return sock


def _share_port(sock: socket.socket) -> None:
    if not hasattr(socket, "SO_REUSEPORT"):
        raise OSError(errno.ENOPROTOOPT, "no SO_REUSEPORT")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


# Unix sockets.


async def _bind_path(path: str, listener: Listener, loop: asyncio.AbstractEventLoop) -> Bound:
    binding = loop.run_in_executor(None, _bound_to_path, path, listener.socket_mode, listener.backlog)
    try:
        return await asyncio.shield(binding)
    except asyncio.CancelledError:
        binding.add_done_callback(lambda done: _undo(done, loop))
        raise


def _undo(binding: asyncio.Future[Bound], loop: asyncio.AbstractEventLoop) -> None:
    """Nobody waits for this socket any more."""
    if binding.cancelled() or binding.exception() is not None:
        return
    bound = binding.result()
    if bound.file is not None:
        loop.run_in_executor(None, bound.file.remove)
    for sock in bound.sockets:
        sock.close()


def _bound_to_path(path: str, mode: int | None, backlog: int) -> Bound:
    """Runs in a thread: file systems may block."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    file: SocketFile | None = None
    try:
        sock.setblocking(False)
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _make_way(path)
            sock.bind(path)
        made = os.lstat(path)
        file = SocketFile(Path(path).absolute(), made.st_dev, made.st_ino)
        if mode is not None:
            # Before listen(), until which every connection is refused.
            Path(path).chmod(mode)
        sock.listen(backlog)
    except BaseException:
        if file is not None:
            file.remove()
        sock.close()
        raise
    return Bound([sock], file)


def _make_way(path: str) -> None:
    """Remove the file of a socket on which nobody listens any more; where somebody does it stays, and bind() says so again."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _Told(errno.EEXIST, "there is a file that is no socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        # Does not wait: where the backlog is full it says so, and then somebody listens.
        asking.setblocking(False)
        said = asking.connect_ex(path)
    if said == errno.ECONNREFUSED:
        with suppress(FileNotFoundError):
            Path(path).unlink()
    elif said in (errno.EACCES, errno.EPERM):
        raise _Told(said, "there is a socket that this process may not ask whether it is in use; remove it or choose another path")


# Inherited sockets.


def _inherited(which: int | str, environment: Mapping[str, str]) -> list[socket.socket]:
    """Copies of the inherited sockets, so that those stay open when the listener closes."""
    numbers = [which] if isinstance(which, int) else _numbers_of(which, environment)
    sockets: list[socket.socket] = []
    try:
        for number in numbers:
            sockets.append(_copied(number))  # noqa: PERF401 - those that were copied are closed if one cannot be
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _numbers_of(name: str, environment: Mapping[str, str]) -> list[int]:
    """The descriptors that a systemd socket unit gives this name, as sd_listen_fds_with_names(3) tells them."""
    count = environment.get("LISTEN_FDS", "")
    if not _COUNT.fullmatch(count) or not int(count):
        raise _Told(errno.ENOENT, f"this process was not started by a systemd socket unit; start it by one, or {_BY_NUMBER}")
    if environment.get("LISTEN_PID") != str(os.getpid()):
        raise _Told(errno.ENOENT, f"LISTEN_PID is another process, which was given the sockets; listen in that one, or {_BY_NUMBER}")
    names = [known or _UNNAMED for known in environment.get("LISTEN_FDNAMES", "").split(":")]
    names += [_UNNAMED] * (int(count) - len(names))
    found = [number for number, known in enumerate(names[: int(count)], _FIRST_INHERITED) if known == name]
    if not found:
        there = ", ".join(repr(known) for known in dict.fromkeys(names[: int(count)]))
        raise _Told(errno.ENOENT, f"no socket has this name; give one that is there ({there}), or set FileDescriptorName= in the unit")
    return found


def _copied(number: int) -> socket.socket:
    copy = os.dup(number)
    try:
        sock = socket.socket(fileno=copy)
    except BaseException:
        os.close(copy)
        raise
    try:
        wrong = _fault_of(sock)
        if wrong:
            raise _Told(errno.EINVAL, f"descriptor {number} is {wrong}")
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _fault_of(sock: socket.socket) -> str | None:
    """Why one cannot listen on a socket, and what to do."""
    if sock.type != socket.SOCK_STREAM:
        return "no stream socket; give one of type SOCK_STREAM (ListenStream= in a socket unit)"
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return "a socket of another family; give one of IPv4, IPv6 or unix"
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return None
    with suppress(OSError):
        sock.getpeername()
        return "a connection; give a socket that listens (Accept=no in a socket unit)"
    name = sock.getsockname()
    if not (name if sock.family == socket.AF_UNIX else name[1]):
        return "bound to no address; bind it before it is inherited"
    return None


_NO_SUCH_HOST = "the host is neither an address nor a name that has one; correct it (without a port; 'unix:' goes before a path)"
_ADVICE_FOR_PORTS = {
    errno.EADDRINUSE: "the port is in use; stop the program that listens there, or choose another port (0 takes a free one)",
    errno.EACCES: "not permitted; ports below 1024 need privileges; give them, or choose another port",
    errno.EADDRNOTAVAIL: "the host is no address of this machine; give one that it has, or leave out host for all",
    socket.EAI_NONAME: _NO_SUCH_HOST,
    socket.EAI_AGAIN: "the name of the host cannot be looked up now; see that the name server answers, or give an address",
}
_ADVICE_FOR_SHARED_PORTS = {
    **_ADVICE_FOR_PORTS,
    errno.EADDRINUSE: "the port is in use by a program that does not share it; have that one set reuse_port too, as the same user, stop it "
    "or choose another port (0 takes a free one)",
    errno.ENOPROTOOPT: "this system cannot share a port among sockets; leave out reuse_port",
}
_NO_DIRECTORY = "its directory is not there; make it or choose another path"
_MAY_NOT_WRITE = "not permitted; let this process write to the directory or choose another path"
_ADVICE_FOR_PATHS = {
    errno.EADDRINUSE: "another program listens there; stop it or choose another path",
    errno.ENOENT: _NO_DIRECTORY,
    errno.ENOTDIR: _NO_DIRECTORY,
    errno.EACCES: _MAY_NOT_WRITE,
    errno.EPERM: _MAY_NOT_WRITE,
    errno.EROFS: _MAY_NOT_WRITE,
}
_ADVICE_FOR_INHERITED = {
    errno.EBADF: "there is no such descriptor; have whoever starts this process pass it on, open and inheritable",
    errno.ENOTSOCK: "the descriptor is no socket; give that of a stream socket",
}
