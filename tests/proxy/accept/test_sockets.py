"""Where a listener listens: ports, unix sockets and inherited sockets, and what is said when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.proxy.accept import sockets
from albkit.proxy.accept.sockets import Bound, forwarded_port, open_sockets, reached_at, release


def listener(port: int = 0, **settings: Any) -> alb.Listener:
    """It answers by itself."""
    return alb.Listener(port, alb.FixedResponse(200), **settings)


@contextlib.asynccontextmanager
async def opened(port: int = 0, **settings: Any) -> AsyncIterator[Bound]:
    """The sockets of a listener, released and closed at the end."""
    loop = asyncio.get_running_loop()
    bound = await open_sockets(listener(port, **settings), loop)
    try:
        yield bound
    finally:
        await release(bound.file, loop)
        for sock in bound.sockets:
            sock.close()


async def refused(port: int = 0, **settings: Any) -> OSError:
    """What is said of a listener that cannot listen."""
    with pytest.raises(OSError, match="cannot listen on ") as caught:
        await open_sockets(listener(port, **settings), asyncio.get_running_loop())
    return caught.value


def listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Without the rights of root, who may do everything."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


@pytest.fixture
def directory() -> Iterator[Path]:
    """One with a short path, which everybody may enter and only its owner write to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


# Ports.


async def test_port_is_bound_and_listens() -> None:
    """So that whoever binds it too is found out now."""
    async with opened(host="127.0.0.1") as bound:
        (sock,) = bound.sockets
        assert sock.getsockname()[1] > 0
        assert sock.gettimeout() == 0
        assert listens(sock)
        assert bound.file is None


async def test_port_shared_by_two_is_bound_by_both() -> None:
    """SO_REUSEPORT, on an address and on all."""
    for host in ("127.0.0.1", None):
        async with opened(host=host, reuse_port=True) as one:
            one.sockets[0].listen()
            port = one.sockets[0].getsockname()[1]
            async with opened(port, host=host, reuse_port=True) as two:
                two.sockets[0].listen()
                assert two.sockets[0].getsockname()[1] == port


async def test_port_of_one_who_does_not_share_is_refused() -> None:
    """Both must say so, and the text tells."""
    for first, second in ((False, True), (True, False)):
        async with opened(host="127.0.0.1", reuse_port=first) as one:
            one.sockets[0].listen()
            port = one.sockets[0].getsockname()[1]
            said = await refused(port, host="127.0.0.1", reuse_port=second)
            assert said.errno == errno.EADDRINUSE
            assert str(said).startswith(f"[Errno {errno.EADDRINUSE}] cannot listen on 127.0.0.1:{port}: the port is in use")
            assert ("set reuse_port there too" in str(said)) is second


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (
            socket.EAI_NONAME,
            "the host is neither an IP address nor a name that resolves to one; correct it (without a port; a path needs 'unix:')",
        ),
        (socket.EAI_AGAIN, "the host name cannot be resolved at the moment; check the name server, or give an IP address"),
    ],
)
async def test_host_that_is_not_found_is_told(failure: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port behind it and a path without unix: are no names either."""

    async def fails(*_: Any, **__: Any) -> None:
        raise socket.gaierror(failure, "not found")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
    said = await refused(host="web.invalid")
    assert str(said).endswith(f"cannot listen on web.invalid:0: {told}")


async def test_system_that_cannot_share_ports_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no SO_REUSEPORT."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    said = await refused(host="127.0.0.1", reuse_port=True)
    assert str(said).endswith("cannot listen on 127.0.0.1:0: this system cannot share a port between sockets; leave out reuse_port")


# Unix sockets.


async def test_unix_socket_listens_and_its_file_goes_at_the_end(directory: Path) -> None:
    """It listens already: nobody takes it for a stale one."""
    path = directory / "web.sock"
    async with opened(host=f"unix:{path}") as bound:
        (sock,) = bound.sockets
        assert listens(sock)
        assert sock.gettimeout() == 0
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()


@pytest.mark.parametrize("mode", [0, 0o600, 0o660, 0o777], ids=oct)
async def test_socket_mode_is_that_of_the_file(directory: Path, mode: int) -> None:
    """Whatever the umask is."""
    before = os.umask(0o027)
    try:
        async with opened(host=f"unix:{directory}/s", socket_mode=mode):
            assert stat.S_IMODE((directory / "s").stat().st_mode) == mode
    finally:
        os.umask(before)


async def test_no_socket_mode_leaves_it_to_the_umask(directory: Path) -> None:
    """As every file."""
    before = os.umask(0o027)
    try:
        async with opened(host=f"unix:{directory}/s"):
            assert stat.S_IMODE((directory / "s").stat().st_mode) == 0o750
    finally:
        os.umask(before)


async def test_nobody_gets_in_before_the_permissions_are_set(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then connecting is refused."""
    said = []
    change = Path.chmod

    def chmod(path: Path, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as early:
            said.append(early.connect_ex(str(path)))
        change(path, mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    async with opened(host=f"unix:{directory}/s", socket_mode=0o600):
        assert said == [errno.ECONNREFUSED]


async def test_failure_behind_bind_leaves_no_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as permissions that cannot be set."""

    def chmod(_: Path, __: int) -> None:
        raise PermissionError(errno.EPERM, "no")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "chmod", chmod)
        said = await refused(host=f"unix:{directory}/s", socket_mode=0o600)
    assert said.errno == errno.EPERM
    assert not (directory / "s").exists()


async def test_stale_socket_makes_way(directory: Path) -> None:
    """Nobody listens there: connecting is refused."""
    path = directory / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    async with opened(host=f"unix:{path}"):
        with socket.socket(socket.AF_UNIX) as client:
            assert client.connect_ex(str(path)) == 0


@pytest.mark.parametrize("full", [False, True], ids=["room", "full"])
async def test_live_socket_is_not_taken_over(directory: Path, full: bool) -> None:
    """Also where its backlog is full, and nothing waits for it."""
    path = directory / "s"
    with contextlib.ExitStack() as stack:
        alive = stack.enter_context(socket.socket(socket.AF_UNIX))
        alive.bind(str(path))
        alive.listen(0)
        while full:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(str(path)) == errno.EAGAIN:
                break
        inode = path.stat().st_ino
        async with asyncio.timeout(5):
            said = await refused(host=f"unix:{path}")
        assert said.errno == errno.EADDRINUSE
        assert str(said).endswith(f"cannot listen on unix:{path}: another program listens on it; stop that program or choose another path")
        assert path.stat().st_ino == inode


@pytest.mark.parametrize("kind", ["file", "directory", "link to nothing"])
async def test_file_that_is_no_socket_stays(directory: Path, kind: str) -> None:
    """It is somebody's, and the text says so."""
    path = directory / "s"
    if kind == "file":
        path.write_text("mine", encoding="utf-8")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(directory / "nothing")
    said = await refused(host=f"unix:{path}")
    assert said.errno == errno.EEXIST
    assert str(said).endswith(f"unix:{path}: a file that is not a socket is in the way; remove it or choose another path")
    assert path.is_symlink() or path.exists()


async def test_directory_that_is_not_there_is_told(directory: Path) -> None:
    """Nor where a file stands in its place."""
    (directory / "file").touch()
    for path in (directory / "none" / "s", directory / "file" / "s"):
        assert str(await refused(host=f"unix:{path}")).endswith("its directory does not exist; create it or choose another path")


async def test_directory_that_may_not_be_written_is_told(directory: Path) -> None:
    """With what would help."""
    with nobody():
        if os.access(directory, os.W_OK, effective_ids=True):
            directory.chmod(0o555)
        said = await refused(host=f"unix:{directory}/s")
    assert said.errno == errno.EACCES
    assert str(said).endswith("not permitted; give this process write access to the directory, or choose another path")


async def test_socket_that_may_not_be_asked_stays(directory: Path) -> None:
    """Somebody may listen there."""
    path = directory / "s"
    with socket.socket(socket.AF_UNIX) as others:
        others.bind(str(path))
        path.chmod(0)
        with nobody():
            said = await refused(host=f"unix:{path}")
    assert said.errno == errno.EACCES
    assert "not permitted to check whether the existing socket is in use" in str(said)
    assert path.exists()


@pytest.mark.parametrize("others", ["socket", "file", "nothing"])
async def test_file_of_another_is_not_removed(directory: Path, others: str) -> None:
    """Only the one that was made goes."""
    path = directory / "s"
    with socket.socket(socket.AF_UNIX) as another:
        async with opened(host=f"unix:{path}"):
            path.unlink()
            if others == "socket":
                another.bind(str(path))
            elif others == "file":
                path.touch()
        assert path.exists() is (others != "nothing")


async def test_relative_path_is_removed_from_another_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory may change in between."""
    monkeypatch.chdir(directory)
    async with opened(host="unix:s"):
        assert (directory / "s").exists()
        monkeypatch.chdir("/")
    assert not (directory / "s").exists()


async def test_start_that_is_cancelled_leaves_no_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that binds is not to be stopped; what it made goes when it is done."""
    bind = sockets._bound_to_path
    loop = asyncio.get_running_loop()
    began, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def slowly(path: str, mode: int | None, backlog: int) -> Bound:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(5)
        return bind(path, mode, backlog)

    remove = sockets.SocketFile.remove

    def removing(file: sockets.SocketFile) -> None:
        remove(file)
        loop.call_soon_threadsafe(ended.set)

    monkeypatch.setattr(sockets, "_bound_to_path", slowly)
    monkeypatch.setattr(sockets.SocketFile, "remove", removing)
    opening = asyncio.ensure_future(open_sockets(listener(host=f"unix:{directory}/s"), loop))
    await began.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    may_end.set()
    async with asyncio.timeout(5):
        await ended.wait()
    assert not (directory / "s").exists()


# Inherited sockets.


@pytest.fixture(params=["listening", "bound"])
def inherited(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A socket as another program hands it over."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if request.param == "listening":
            sock.listen()
        yield sock


def named(monkeypatch: pytest.MonkeyPatch, *given: tuple[str, socket.socket], pid: int | None = None) -> None:
    """Say of sockets of this process what systemd says of those that it passes."""
    last = max(sock.fileno() for _, sock in given)
    names = ["other"] * (last - 2)
    for name, sock in given:
        names[sock.fileno() - 3] = name
    monkeypatch.setenv("LISTEN_FDS", str(len(names)))
    monkeypatch.setenv("LISTEN_FDNAMES", ":".join(names))
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() if pid is None else pid))


async def test_inherited_socket_is_copied_and_stays_open(inherited: socket.socket) -> None:
    """Closing the copy leaves the one that was inherited as it was."""
    async with opened(inherited_socket=inherited.fileno()) as bound:
        (sock,) = bound.sockets
        assert sock.fileno() != inherited.fileno()
        assert sock.getsockname() == inherited.getsockname()
        assert sock.gettimeout() == 0
        assert not sock.get_inheritable()
        sock.listen()
    with socket.socket() as client:
        assert client.connect_ex(inherited.getsockname()) == 0


async def test_inherited_unix_socket_keeps_its_file(directory: Path) -> None:
    """Whoever made it removes it."""
    with socket.socket(socket.AF_UNIX) as inherited:
        inherited.bind(f"{directory}/s")
        async with opened(inherited_socket=inherited.fileno()) as bound:
            assert bound.file is None
        assert (directory / "s").exists()


async def test_inherited_socket_is_found_by_its_name(inherited: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """LISTEN_FDNAMES tells names in the order of the descriptors, from 3 on."""
    named(monkeypatch, ("web", inherited))
    async with opened(inherited_socket="web") as bound:
        assert [sock.getsockname() for sock in bound.sockets] == [inherited.getsockname()]


async def test_all_inherited_sockets_of_one_name_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket unit with two ListenStream= gives both its name."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        named(monkeypatch, ("web", one), ("web", two))
        async with opened(inherited_socket="web") as bound:
            assert {sock.getsockname() for sock in bound.sockets} == {one.getsockname(), two.getsockname()}


async def test_inherited_socket_without_names_is_called_unknown(inherited: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """As sd_listen_fds_with_names(3) calls it; the last one here."""
    named(monkeypatch, ("web", inherited))
    monkeypatch.setenv("LISTEN_FDNAMES", ":".join(["other"] * (inherited.fileno() - 3)))
    async with opened(inherited_socket="unknown") as bound:
        assert bound.sockets[0].getsockname() == inherited.getsockname()


async def test_one_bad_socket_of_a_name_refuses_all(inherited: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the copies of the good ones are closed: a socket left open fails the test."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bad:
        named(monkeypatch, ("web", inherited), ("web", bad))
        assert f"descriptor {bad.fileno()} is not a stream socket" in str(await refused(inherited_socket="web"))


@pytest.mark.parametrize("count", [None, "", "0", "x", "-1", "\u0663", "9" * 400], ids=ascii)
async def test_name_without_a_socket_unit_is_told(count: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no LISTEN_FDS, or it is no number."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    if count is None:
        monkeypatch.delenv("LISTEN_FDS", raising=False)
    else:
        monkeypatch.setenv("LISTEN_FDS", count)
    said = str(await refused(inherited_socket="web"))
    assert "cannot listen on the inherited socket 'web': this process was not started by a systemd socket unit; start it from one" in said


@pytest.mark.parametrize("pid", ["1", "", None], ids=repr)
async def test_name_for_another_process_is_told(pid: str | None, inherited: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are inherited by children, the sockets are not meant for them."""
    named(monkeypatch, ("web", inherited))
    if pid is None:
        monkeypatch.delenv("LISTEN_PID")
    else:
        monkeypatch.setenv("LISTEN_PID", pid)
    assert "LISTEN_PID names another process" in str(await refused(inherited_socket="web"))


async def test_name_that_is_not_there_is_told_with_those_that_are(inherited: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once."""
    named(monkeypatch, ("web", inherited))
    said = str(await refused(inherited_socket="wbe"))
    assert "no socket has this name; use one of 'other', 'web', or set FileDescriptorName= in the unit" in said


async def test_descriptor_that_is_not_open_is_told() -> None:
    """Whatever its number."""
    for number in (2**31 - 1, 4095):
        said = await refused(inherited_socket=number)
        assert said.errno == errno.EBADF
        assert f"cannot listen on the inherited socket {number}: there is no such descriptor; the parent process" in str(said)


async def test_descriptor_that_is_no_socket_is_told() -> None:
    """A file, a pipe."""
    reading, writing = os.pipe()
    try:
        assert "the descriptor is not a socket; give that of a stream socket" in str(await refused(inherited_socket=reading))
        os.fstat(reading)
    finally:
        os.close(reading)
        os.close(writing)


async def test_socket_on_which_nobody_can_listen_is_told() -> None:
    """Of another type, a connection, or without an address; all stay open."""
    one, two = socket.socketpair()
    with one, two, socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as unbound, socket.socket(socket.AF_UNIX) as nowhere:
        for sock, reason in (
            (one, "a connection; give a listening socket (Accept=no in a socket unit)"),
            (datagrams, "not a stream socket; give one of type SOCK_STREAM (ListenStream= in a socket unit)"),
            (unbound, "not bound to an address; bind it before it is inherited"),
            (nowhere, "not bound to an address; bind it before it is inherited"),
        ):
            said = str(await refused(inherited_socket=sock.fileno()))
            assert said.endswith(f"descriptor {sock.fileno()} is {reason}")
            os.fstat(sock.fileno())


# What is told of them.


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", r"127\.0\.0\.1:\d+"),
        ("localhost", r"localhost:\d+"),
        ("0.0.0.0", r"127\.0\.0\.1:\d+"),
        (None, r"127\.0\.0\.1:\d+"),
        ("::1", r"\[::1\]:\d+"),
        ("::", r"\[::1\]:\d+"),
    ],
)
async def test_port_is_reached_by_a_client_on_this_machine(host: str | None, reached: str) -> None:
    """By the host that was given, or where that is all addresses by one that works."""
    if host is not None and ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("a machine without IPv6")
    async with opened(host=host) as bound:
        sock = bound.sockets[0]
        port = sock.getsockname()[1]
        assert re.fullmatch(reached, reached_at(listener(host=host), sock))
        assert reached_at(listener(host=host), sock).endswith(f":{port}")
        assert forwarded_port(listener(host=host), sock) == port


async def test_inherited_socket_is_reached_at_its_own_address(inherited: socket.socket) -> None:
    """Targets are told its port, or the one that was given."""
    given = listener(inherited_socket=inherited.fileno())
    own = inherited.getsockname()[1]
    assert reached_at(given, inherited) == f"127.0.0.1:{own}"
    assert forwarded_port(given, inherited) == own
    given = listener(8443, inherited_socket=inherited.fileno())
    assert reached_at(given, inherited) == f"127.0.0.1:{own}"
    assert forwarded_port(given, inherited) == 8443


async def test_unix_socket_is_reached_at_its_path(directory: Path) -> None:
    """Also an inherited one, with a name in the abstract namespace or a path; targets are told port 80, or the one that was given."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{directory}/s")
        for given in (listener(host=f"unix:{directory}/s"), listener(inherited_socket=7)):
            assert reached_at(given, sock) == f"unix:{directory}/s"
            assert forwarded_port(given, sock) == 80
        assert forwarded_port(listener(8080, host="unix:s"), sock) == forwarded_port(listener(8080, inherited_socket=7), sock) == 8080
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0albkit-{os.getpid()}")
        assert reached_at(listener(inherited_socket=7), sock) == f"unix:@albkit-{os.getpid()}"


async def test_port_that_another_program_listens_on_behind_our_bind_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs can bind one port before either listens on it; who is late is told so, and leaves no socket open."""
    with socket.socket() as ours, socket.socket() as theirs:
        for sock in (ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        theirs.bind(("127.0.0.1", port))
        theirs.listen()
        monkeypatch.setattr(sockets, "_bind_each", lambda *_: [ours])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: the port is in use"):
            await open_sockets(listener(port, host="127.0.0.1"), asyncio.get_running_loop())
        assert ours.fileno() == -1
