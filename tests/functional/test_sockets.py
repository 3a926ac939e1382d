"""Listeners on unix sockets, inherited sockets and shared ports, from a client to a target."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from tests.support.gateway import Running, leaving_nothing
from tests.support.peers import RawClient, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, echo, switching


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a unix socket can be made."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "web.sock"


async def at(path: Path) -> RawClient:
    """A client of a unix socket."""
    return RawClient(*await asyncio.open_unix_connection(path, limit=2**26))


async def said_at(where: Path | int) -> bytes:
    """The body that somebody gets there."""
    client = await (at(where) if isinstance(where, Path) else RawClient.connect(where))
    try:
        return (await client.get()).body
    finally:
        await client.close()


def saying(word: str, port: int = 0, **settings: Any) -> alb.Listener:
    """A listener that answers with a word."""
    return alb.Listener(port, alb.FixedResponse(200, word), **settings)


@contextlib.asynccontextmanager
async def balancing(*listeners: alb.Listener) -> AsyncIterator[Running]:
    """A load balancer with these listeners; at the end nothing may be left of what went through it."""
    async with leaving_nothing(Running(alb.LoadBalancer(listeners, stop_timeout=0.2))) as it:
        yield it


# What a listener on a unix socket does.


@pytest.mark.parametrize(("given", "told"), [(0, b"80"), (8443, b"8443")])
async def test_request_through_a_unix_socket_is_forwarded(path: Path, given: int, told: bytes) -> None:
    """One after the other on one connection; the client has no address to append, and the port told is the one that was given."""
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        async with balancing(alb.Listener(given, alb.Forward(group), host=f"unix:{path}")) as it:
            (running,) = it.load_balancer.listeners
            assert running.url == f"unix:{path}"
            assert running.port == int(told)
            client = await at(path)
            it.clients.append(client)
            for fields in ((), (), ("X-Forwarded-For: 192.0.2.7",)):
                answer = await client.get("/", *fields)
                assert (answer.status, answer.body) == (200, b"ok")
            for head in origin.heads:
                assert b"\r\nX-Forwarded-Port: %s\r\n" % told in head
                assert b"\r\nX-Forwarded-Proto: http\r\n" in head
            assert [b"X-Forwarded-For" in head for head in origin.heads] == [False, False, True]
            assert b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in origin.heads[-1]
            assert len(origin.conversations) == 1
            assert it.counters["NewConnectionCount"] >= 1


async def test_large_bodies_pass_a_unix_socket_both_ways(path: Path) -> None:
    """With more bytes than its buffers take."""
    size = 4 * 1024 * 1024
    async with (
        target(None, response(body=b"y" * size)) as origin,
        balancing(alb.Listener(0, alb.Forward(alb.TargetGroup("group", origin.address)), host=f"unix:{path}")) as it,
    ):
        client = await at(path)
        it.clients.append(client)
        client.send(request("POST", "/", f"Content-Length: {size}", body=b"x" * size))
        answer = await client.response()
        assert answer.complete
        assert answer.body == b"y" * size


async def test_websocket_through_a_unix_socket_is_a_tunnel(path: Path) -> None:
    """Bytes go both ways, and its end is told to both sides."""
    async with (
        target(switching(SWITCHED, then=echo)) as origin,
        balancing(alb.Listener(0, alb.Forward(alb.TargetGroup("group", origin.address)), host=f"unix:{path}")) as it,
    ):
        client = await at(path)
        it.clients.append(client)
        client.send(request("GET", "/ws", *UPGRADE))
        assert (await client.response()).status == 101
        frame = b"\x82\xfe\x02\x00" + bytes(4) + b"z" * 512
        for _ in range(3):
            client.send(frame)
            assert await client.read_exactly(len(frame)) == frame
        (tunnel,) = it.load_balancer.tunnels
        assert tunnel.client.host == ""
        await client.close()
        await (await origin.arrived()).over.wait()
        async with asyncio.timeout(5):
            while it.load_balancer.tunnels:
                await asyncio.sleep(0)


async def test_client_without_an_address_is_in_no_network(path: Path) -> None:
    """SourceIp does not match, not even where it takes all."""
    rule = alb.Rule(1, alb.SourceIp(["0.0.0.0/0", "::/0"]), alb.FixedResponse(200, "network"))
    async with balancing(alb.Listener(0, alb.FixedResponse(200, "default"), rule, host=f"unix:{path}")):
        assert await said_at(path) == b"default"


async def test_clients_without_an_address_share_one_session(path: Path) -> None:
    """SourceAddress binds them all to one target."""
    async with target(None, response(body=b"a")) as a, target(None, response(body=b"b")) as b:
        group = alb.TargetGroup("group", [a.address, b.address], stickiness=alb.SourceAddress())
        async with balancing(alb.Listener(0, alb.Forward(group), host=f"unix:{path}")):
            assert len({await said_at(path) for _ in range(4)}) == 1


async def test_unix_socket_can_be_started_again(path: Path) -> None:
    """Its file goes with each stop."""
    load_balancer = alb.LoadBalancer(saying("here", host=f"unix:{path}"))
    for _ in range(3):
        async with load_balancer:
            assert await said_at(path) == b"here"
        assert not path.exists()


async def test_start_that_fails_leaves_no_file(path: Path) -> None:
    """The listener opened before is closed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        load_balancer = alb.LoadBalancer(
            [saying("here", host=f"unix:{path}"), saying("there", taken.getsockname()[1], host="127.0.0.1", reuse_port=True)]
        )
        with pytest.raises(OSError, match="does not share it"):
            await load_balancer.start()
    assert not path.exists()


async def test_live_unix_socket_of_another_load_balancer_stays(path: Path) -> None:
    """The second does not start; the first serves on."""
    async with balancing(saying("first", host=f"unix:{path}")):
        with pytest.raises(OSError, match="another program listens on it; stop that program or choose another path"):
            await alb.LoadBalancer(saying("second", host=f"unix:{path}")).start()
        assert await said_at(path) == b"first"


async def test_file_of_another_stays_behind_a_stop(path: Path) -> None:
    """Who took the path while the listener was open keeps it."""
    with socket.socket(socket.AF_UNIX) as other:
        async with alb.LoadBalancer(saying("here", host=f"unix:{path}")):
            path.unlink()
            other.bind(str(path))
        assert path.exists()


# Processes.

_GATEWAY = """
import asyncio, sys
import albkit as alb

async def main(settings):
    listener = alb.Listener(settings.pop("port", 0), alb.FixedResponse(200, settings.pop("word", "child")), **settings)
    try:
        async with alb.LoadBalancer(listener) as load_balancer:
            print(load_balancer.listeners[0].url, load_balancer.listeners[0].port, flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    except OSError as error:
        print(error, flush=True)

settings = eval(sys.argv[1])
if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main(settings))
else:
    asyncio.run(main(settings))
"""
_AS_SYSTEMD = """
import os, sys
numbers = [int(number) for number in sys.argv[1].split(",")]
for place, number in enumerate(numbers, 3):
    os.dup2(number, place, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(numbers)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""
"""What systemd does with the descriptors of a socket unit."""


class Child:
    """A load balancer in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], said: str) -> None:
        self.process = process
        self.said = said
        """Its URL and the port told, or why it did not start."""

    @property
    def port(self) -> int:
        return int(self.said.split(" ")[0].rpartition(":")[2])

    async def kill(self) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.wait, 10)


def _loop_name() -> str:
    return "asyncio" if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop) else "uvloop"


@contextlib.asynccontextmanager
async def child(
    settings: dict[str, Any], names: str = "", inherited: Sequence[socket.socket] = (), launcher: Sequence[str] = ()
) -> AsyncIterator[Child]:
    """A load balancer in a process, on the kind of loop that the test has; `inherited` are its descriptors from 3 on."""
    numbers = [sock.fileno() for sock in inherited]
    before = [*launcher, *(["-c", _AS_SYSTEMD, ",".join(map(str, numbers)), names] if numbers else [])]
    command = [sys.executable, *before, "-c", _GATEWAY, repr(settings), _loop_name()]
    with subprocess.Popen(command, pass_fds=numbers, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Child(process, (await asyncio.to_thread(process.stdout.readline)).strip())
            process.stdin.close()
            await asyncio.to_thread(process.wait, 10)
        finally:
            process.kill()


async def test_file_of_a_process_that_was_killed_makes_way(path: Path) -> None:
    """It could not remove it."""
    async with child({"host": f"unix:{path}"}) as killed:
        assert killed.said == f"unix:{path} 80"
        assert await said_at(path) == b"child"
        await killed.kill()
        assert path.exists()
        async with balancing(saying("heir", host=f"unix:{path}")):
            assert await said_at(path) == b"heir"


async def test_sockets_of_a_socket_unit_are_served(path: Path) -> None:
    """Two of one name, a port and a unix socket, as systemd passes them; a third of another name is left alone."""
    with socket.socket() as port, socket.socket() as other, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        for sock in (port, other):
            sock.bind(("127.0.0.1", 0))
        for sock in (port, unix):
            sock.listen()
        async with child({"inherited_socket": "web"}, "web:other:web", [port, other, unix]) as it:
            number = port.getsockname()[1]
            assert it.said == f"http://127.0.0.1:{number} {number}"
            assert await said_at(number) == await said_at(path) == b"child"
        assert it.process.returncode == 0
        assert path.exists()
        with pytest.raises(ConnectionRefusedError):
            await RawClient.connect(other.getsockname()[1])


async def test_socket_unit_without_the_name_is_told() -> None:
    """With the names that it has."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with child({"inherited_socket": "web"}, "one:two", [sock, sock]) as it:
            assert "cannot listen on the inherited socket 'web': no socket has this name; use one of 'one', 'two'" in it.said


async def test_real_systemd_passes_a_socket() -> None:
    """By the tool that stands in for a socket unit; it starts the program when the first client comes."""
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        pytest.skip("needs systemd-socket-activate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
    command = [tool, f"--listen=127.0.0.1:{number}", "--fdname=web", f"--setenv=PYTHONPATH={Path(alb.__file__).parent.parent}"]
    command += [sys.executable, "-c", _GATEWAY, repr({"inherited_socket": "web"}), _loop_name()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "Listening on" in await asyncio.to_thread(process.stderr.readline)
            assert await said_at(number) == b"child"
        finally:
            process.kill()


async def test_two_processes_share_a_port() -> None:
    """Both are reached, and when one goes the other serves on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", 0))
        shared = {"port": probe.getsockname()[1], "host": "127.0.0.1", "reuse_port": True}
        async with child({**shared, "word": "child"}) as it:
            assert it.port == shared["port"]
            async with balancing(saying("parent", **shared)):
                heard: set[bytes] = set()
                async with asyncio.timeout(20):
                    while len(heard) < 2:
                        heard.add(await said_at(it.port))
                assert heard == {b"child", b"parent"}
            assert {await said_at(it.port) for _ in range(8)} == {b"child"}


# Inherited sockets within this process.


@pytest.mark.parametrize(("given", "told"), [(0, None), (443, 443)])
async def test_inherited_socket_is_served_and_outlives_the_listener(given: int, told: int | None) -> None:
    """Start and stop as often as wanted; who comes in between waits. Targets are told the socket's own port, or the one given."""
    async with target() as origin:
        with socket.create_server(("127.0.0.1", 0)) as inherited:
            own = inherited.getsockname()[1]
            group = alb.TargetGroup("group", origin.address)
            load_balancer = alb.LoadBalancer(alb.Listener(given, alb.Forward(group), inherited_socket=inherited.fileno()))
            for _ in range(2):
                early = await RawClient.connect(own)
                early.send(request("GET", "/"))
                async with load_balancer:
                    (running,) = load_balancer.listeners
                    assert (running.url, running.port) == (f"http://127.0.0.1:{own}", told or own)
                    assert (await early.response()).status == 200
                    await early.close()
                assert inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            assert all(b"\r\nX-Forwarded-Port: %d\r\n" % (told or own) in head for head in origin.heads)
            assert all(b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head for head in origin.heads)


async def test_inherited_unix_socket_is_served_and_its_file_stays(path: Path) -> None:
    """Whoever made it removes it."""
    with socket.socket(socket.AF_UNIX) as inherited:
        inherited.bind(str(path))
        load_balancer = alb.LoadBalancer(saying("here", inherited_socket=inherited.fileno()))
        for _ in range(2):
            async with load_balancer:
                assert load_balancer.listeners[0].url == f"unix:{path}"
                assert load_balancer.listeners[0].port == 80
                assert await said_at(path) == b"here"
            assert path.exists()


async def test_descriptor_that_is_not_there_is_told() -> None:
    """By start(), in a sentence."""
    with pytest.raises(OSError, match="cannot listen on the inherited socket 4095: there is no such descriptor; the parent process"):
        await alb.LoadBalancer(saying("here", inherited_socket=4095)).start()


# Changes while it runs.


def waiting_at_most(running: Any) -> int:
    """The backlog that the kernel has for a listening port: tcpi_sacked, of which a listening socket has no other use."""
    with socket.socket(fileno=os.dup(running._servers[0].sockets[0].fileno())) as sock:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int(struct.unpack_from("I", info, 28)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="tcp_info is Linux's")
async def test_backlog_holds_from_the_start_and_changes_at_once() -> None:
    """The port stays the same."""
    most = int(Path("/proc/sys/net/core/somaxconn").read_text(encoding="ascii"))
    async with balancing(saying("one", host="127.0.0.1", backlog=7)) as it:
        (running,) = it.load_balancer.listeners
        port = running.port
        assert waiting_at_most(running) == 7
        for backlog in (30, 4096):
            await it.load_balancer.apply(saying("two", host="127.0.0.1", backlog=backlog))
            assert waiting_at_most(running) == min(backlog, most)
        assert it.load_balancer.listeners[0].port == port
        assert await said_at(port) == b"two"


async def test_unix_socket_stays_open_under_new_rules_names_and_ports(path: Path) -> None:
    """The path is the door; what else changes does not open it again."""
    async with balancing(saying("one", host=f"unix:{path}")) as it:
        inode = path.stat().st_ino
        before = it.load_balancer.listeners
        for new in (
            saying("two", host=f"unix:{path}"),
            saying("two", host=f"unix:{path}", name="web"),
            saying("two", host=f"unix:{path}", name="shop", socket_mode=0o600),
            saying("two", 8080, host=f"unix:{path}", name="shop"),
        ):
            await it.load_balancer.apply(new)
            assert it.load_balancer.listeners == before
            assert await said_at(path) == b"two"
        assert path.stat().st_ino == inode


async def test_unix_socket_moves_to_another_path(path: Path) -> None:
    """The old file goes; where the new path is taken nothing changes."""
    new, taken = path.with_name("new.sock"), path.with_name("taken")
    taken.touch()
    async with balancing(saying("one", host=f"unix:{path}", name="web")) as it:
        with pytest.raises(OSError, match="a file that is not a socket is in the way"):
            await it.load_balancer.apply(
                [saying("two", host=f"unix:{new}", name="web"), saying("three", host=f"unix:{taken}", name="more")]
            )
        assert not new.exists()
        assert await said_at(path) == b"one"
        await it.load_balancer.apply(saying("two", host=f"unix:{new}", name="web"))
        assert await said_at(new) == b"two"
        assert not path.exists()
    assert not new.exists()


async def test_inherited_sockets_are_doors_of_their_own() -> None:
    """The same one stays open under another name; another one is opened, and the first is left open but not served."""
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        async with balancing(saying("one", inherited_socket=a.fileno())) as it:
            before = it.load_balancer.listeners
            await it.load_balancer.apply(saying("two", inherited_socket=a.fileno(), name="web"))
            assert it.load_balancer.listeners == before
            await it.load_balancer.apply(saying("three", inherited_socket=b.fileno(), name="web"))
            assert it.load_balancer.listeners != before
            assert it.port == b.getsockname()[1]
            assert await said_at(it.port) == b"three"
            waiting = await RawClient.connect(a.getsockname()[1])
            await it.load_balancer.apply(
                [saying("three", inherited_socket=b.fileno(), name="web"), saying("four", inherited_socket=a.fileno(), name="back")]
            )
            assert (await waiting.get()).body == b"four"
            await waiting.close()
