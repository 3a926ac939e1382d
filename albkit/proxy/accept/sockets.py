"""Binds the sockets of listeners: ports, unix sockets, and sockets that the process has inherited."""

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

__all__ = ("Bound", "SocketFile", "change_backlog", "forwarded_port", "open_sockets", "reached_at", "release", "serve_on")

_FIRST_INHERITED: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
_COUNT = re.compile(r"[0-9]{1,5}")
_UNNAMED: Final = "unknown"
"""systemd's name for a descriptor without a name."""
_PORT_OF_UNIX: Final = 80
"""The port that targets are told for a listener without one; with TLS, the next constant."""
_SECURE_PORT_OF_UNIX: Final = 443
_BY_NUMBER: Final = "give the descriptor's number"


@attrs.frozen
class SocketFile:
    """The file of a unix socket, as bind() has created it."""

    path: Path
    """Absolute, so that a change of the working directory does not matter."""
    device: int
    inode: int

    def remove(self) -> None:
        """Remove the file, unless another file has taken its place."""
        with suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                self.path.unlink()


@attrs.frozen
class Bound:
    """The sockets of one listener, bound and non-blocking, and the file to remove at the end."""

    sockets: list[socket.socket]
    file: SocketFile | None = None


class _ExplainedError(OSError):
    """An error whose text already says what to do."""


class _NoSuchFamilyError(Exception):
    """The machine does not support this address family."""


async def open_sockets(listener: Listener, loop: asyncio.AbstractEventLoop) -> Bound:
    """Bind what a listener listens on.

    Returns:
        Sockets that are already listening, except inherited ones, which may not be. Two programs can bind the same port, and only listen()
            reports the conflict; and until a unix socket listens, another program would take its file for a stale one.

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
            # Listening at once: two sockets with SO_REUSEADDR may both bind a port, and only listen() fails (socket(7)).
            return Bound(_listening([_bind_everywhere(port, listener.reuse_port)], listener.backlog))
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((int(family), tuple(address)) for family, _, _, _, address in found))
        return Bound(_listening(_bind_each(addresses, port, listener.reuse_port), listener.backlog))
    except OSError as error:
        reason = error.strerror if isinstance(error, _ExplainedError) else advice.get(error.errno or 0, str(error))
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
    """Remove the file of a unix socket, unless another file has taken its place.

    Call it while the socket is open: until it is closed, no other file can get its inode, and no other program takes it for stale.
    """
    if file is not None:
        await asyncio.shield(loop.run_in_executor(None, file.remove))


async def serve_on(
    sock: socket.socket, loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.BaseProtocol], admission: Admission, backlog: int
) -> Server:
    """Create a server on a socket of `open_sockets`. The server owns the socket and never removes its file.

    It accepts once its `start_serving` is called. If `create_server` started to accept by itself and was cancelled, nobody could close it.
    """
    if isinstance(loop, asyncio.SelectorEventLoop):
        return Acceptor(sock, loop, protocol, admission, backlog)
    if sock.family == socket.AF_UNIX and not isinstance(loop, asyncio.BaseEventLoop):
        # uvloop accepts unix sockets only in create_unix_server(). With Python 3.13 and later, that would remove the file, even that of an
        # inherited socket, unless cleanup_socket is False.
        create: Callable[..., Any] = loop.create_unix_server
        server: Server = await create(protocol, sock=sock, backlog=backlog, cleanup_socket=False, start_serving=False)
        return server
    return await loop.create_server(protocol, sock=sock, backlog=backlog, start_serving=False)


def change_backlog(server: Server, backlog: int) -> None:
    """Change the backlog of every socket of a server."""
    for listening in server.sockets:
        # listen() on a listening socket only changes its backlog (listen(2)). It is called on a copy, because the socket objects of event
        # loops have no such method.
        with socket.socket(fileno=os.dup(listening.fileno())) as sock:
            sock.listen(backlog)


def forwarded_port(listener: Listener, sock: socket.socket) -> int:
    """The port that targets are told in X-Forwarded-Port."""
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
    """Bind one socket for IPv4 and IPv6, so that both get the same free port; IPv4 only if there is no IPv6."""
    if socket.has_dualstack_ipv6():
        with suppress(_NoSuchFamilyError):
            return _bound(socket.AF_INET6, ("::", port), reuse_port, dual=True)
    return _bound(socket.AF_INET, ("0.0.0.0", port), reuse_port)  # noqa: S104 - all interfaces is what was asked for


def _bind_each(addresses: Sequence[tuple[int, tuple[Any, ...]]], port: int, reuse_port: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            # The first socket may have taken a free port; the others of the same host use the same one.
            chosen = sockets[0].getsockname()[1] if sockets else port
            with suppress(_NoSuchFamilyError):
                sockets.append(_bound(family, (address[0], chosen, *address[2:]), reuse_port))
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "none of the host's addresses can be used")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bound(family: int, address: tuple[Any, ...], reuse_port: bool, *, dual: bool = False) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _NoSuchFamilyError from error
    try:
        # On Windows, SO_REUSEADDR would let two programs share the port.
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            _share_port(sock)
        if family == socket.AF_INET6:
            # Set explicitly, because the default is a system setting (net.ipv6.bindv6only on Linux, ipv6(7)).
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if family == socket.AF_INET6 and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise _NoSuchFamilyError from error
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
        # A thread cannot be cancelled: it finishes binding, and `_undo` closes the socket.
        return await asyncio.shield(binding)
    except asyncio.CancelledError:
        binding.add_done_callback(lambda done: _undo(done, loop))
        raise


def _undo(binding: asyncio.Future[Bound], loop: asyncio.AbstractEventLoop) -> None:
    """Close a socket whose caller was cancelled."""
    if binding.cancelled() or binding.exception() is not None:
        return
    bound = binding.result()
    if bound.file is not None:
        loop.run_in_executor(None, bound.file.remove)
    for sock in bound.sockets:
        sock.close()


def _bound_to_path(path: str, mode: int | None, backlog: int) -> Bound:
    """Bind a unix socket. Runs in a thread, because file systems can block."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    file: SocketFile | None = None
    try:
        sock.setblocking(False)
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path)
            sock.bind(path)
        made = os.lstat(path)
        file = SocketFile(Path(path).absolute(), made.st_dev, made.st_ino)
        if mode is not None:
            # Before listen(): until then every connection is refused, so nobody can connect with the wrong permissions.
            Path(path).chmod(mode)
        sock.listen(backlog)
    except BaseException:
        if file is not None:
            file.remove()
        sock.close()
        raise
    return Bound([sock], file)


def _remove_stale(path: str) -> None:
    """Remove a stale socket file. If a program still listens on it, the file stays, and bind() fails again."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _ExplainedError(errno.EEXIST, "a file that is not a socket is in the way; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        # Non-blocking: if the backlog is full, connect() fails with EAGAIN (unix(7)), which also means that a program listens.
        asking.setblocking(False)
        said = asking.connect_ex(path)
    if said == errno.ECONNREFUSED:
        with suppress(FileNotFoundError):
            Path(path).unlink()
    elif said in (errno.EACCES, errno.EPERM):
        raise _ExplainedError(
            said, "this process is not permitted to check whether the existing socket is in use; remove it or choose another path"
        )


# Inherited sockets.


def _inherited(which: int | str, environment: Mapping[str, str]) -> list[socket.socket]:
    """Copy the inherited sockets, so that they stay open when the listener closes."""
    numbers = [which] if isinstance(which, int) else _descriptors_named(which, environment)
    sockets: list[socket.socket] = []
    try:
        for number in numbers:
            sockets.append(_copied(number))  # noqa: PERF401 - those that were copied are closed if one cannot be
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _descriptors_named(name: str, environment: Mapping[str, str]) -> list[int]:
    """The descriptors to which a systemd socket unit gives this name (sd_listen_fds_with_names(3))."""
    count = environment.get("LISTEN_FDS", "")
    if not _COUNT.fullmatch(count) or not int(count):
        raise _ExplainedError(errno.ENOENT, f"this process was not started by a systemd socket unit; start it from one, or {_BY_NUMBER}")
    if environment.get("LISTEN_PID") != str(os.getpid()):
        raise _ExplainedError(errno.ENOENT, f"LISTEN_PID names another process, which has the sockets; listen in that one, or {_BY_NUMBER}")
    names = [known or _UNNAMED for known in environment.get("LISTEN_FDNAMES", "").split(":")]
    names += [_UNNAMED] * (int(count) - len(names))
    found = [number for number, known in enumerate(names[: int(count)], _FIRST_INHERITED) if known == name]
    if not found:
        there = ", ".join(repr(known) for known in dict.fromkeys(names[: int(count)]))
        raise _ExplainedError(errno.ENOENT, f"no socket has this name; use one of {there}, or set FileDescriptorName= in the unit")
    return found


def _copied(number: int) -> socket.socket:
    # A copy, because closing a socket object closes its descriptor, and the inherited one must stay open.
    copy = os.dup(number)
    try:
        sock = socket.socket(fileno=copy)
    except BaseException:
        os.close(copy)
        raise
    try:
        wrong = _fault_of(sock)
        if wrong:
            raise _ExplainedError(errno.EINVAL, f"descriptor {number} is {wrong}")
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _fault_of(sock: socket.socket) -> str | None:
    """Why a socket cannot be listened on, and what to do."""
    if sock.type != socket.SOCK_STREAM:
        return "not a stream socket; give one of type SOCK_STREAM (ListenStream= in a socket unit)"
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return "a socket of another address family; give one of IPv4, IPv6 or unix"
    # 1 for a listening socket (socket(7)).
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return None
    with suppress(OSError):
        sock.getpeername()
        return "a connection; give a listening socket (Accept=no in a socket unit)"
    name = sock.getsockname()
    if not (name if sock.family == socket.AF_UNIX else name[1]):
        return "not bound to an address; bind it before it is inherited"
    return None


_NO_SUCH_HOST = "the host is neither an IP address nor a name that resolves to one; correct it (without a port; a path needs 'unix:')"
_ADVICE_FOR_PORTS = {
    errno.EADDRINUSE: "the port is in use; stop the program that listens there, or choose another port (0 takes a free one)",
    errno.EACCES: "not permitted; ports below 1024 need privileges; grant them, or choose another port",
    errno.EADDRNOTAVAIL: "the host is not an address of this machine; give one of its addresses, or leave out host to use all",
    socket.EAI_NONAME: _NO_SUCH_HOST,
    socket.EAI_AGAIN: "the host name cannot be resolved at the moment; check the name server, or give an IP address",
}
_ADVICE_FOR_SHARED_PORTS = {
    **_ADVICE_FOR_PORTS,
    errno.EADDRINUSE: "the port is in use by a program that does not share it; set reuse_port there too, as the same user, stop it "
    "or choose another port (0 takes a free one)",
    errno.ENOPROTOOPT: "this system cannot share a port between sockets; leave out reuse_port",
}
_NO_DIRECTORY = "its directory does not exist; create it or choose another path"
_MAY_NOT_WRITE = "not permitted; give this process write access to the directory, or choose another path"
_ADVICE_FOR_PATHS = {
    errno.EADDRINUSE: "another program listens on it; stop that program or choose another path",
    errno.ENOENT: _NO_DIRECTORY,
    errno.ENOTDIR: _NO_DIRECTORY,
    errno.EACCES: _MAY_NOT_WRITE,
    errno.EPERM: _MAY_NOT_WRITE,
    errno.EROFS: _MAY_NOT_WRITE,
}
_ADVICE_FOR_INHERITED = {
    errno.EBADF: "there is no such descriptor; the parent process must pass it on, open and inheritable",
    errno.ENOTSOCK: "the descriptor is not a socket; give that of a stream socket",
}
