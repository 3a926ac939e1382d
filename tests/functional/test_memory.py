"""A gibibyte each way with a slow reader: nothing is buffered whole."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.effort import cases
from tests.support.peers import Conversation, RawClient, request, target

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure another process's memory"),
    pytest.mark.timeout(180),
    # The load balancer is another process; each test runs it on both loops.
    pytest.mark.only_asyncio,
]

GIB = cases(2**30, part=4)
"""Bytes. A run that tries a part of the cases is content with a quarter."""
BLOCK = bytes(2**20)
MOST_ABOVE_IDLE = 64 * 2**20


def memory(pid: int, what: str) -> int:
    """A line of the process's status, in bytes: VmRSS now, VmHWM at its highest."""
    match = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


@contextlib.asynccontextmanager
async def gateway_process(loop: str, *targets: str) -> AsyncIterator[tuple[int, int]]:
    """A gateway in another process: its port and process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.gateway_process",
        loop,
        *targets,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        await process.wait()
    assert process.returncode == 0


async def settled(count: list[int]) -> int:
    """Wait until a counter stands still."""
    before = -1
    while count[0] != before or not before:
        before = count[0]
        await asyncio.sleep(0.2)
    return before


async def send_gibibyte(peer: RawClient | Conversation, sent: list[int]) -> None:
    while sent[0] < GIB:
        peer.writer.write(BLOCK)
        await peer.writer.drain()
        sent[0] += len(BLOCK)


async def read_gibibyte(sock: socket.socket, received: int) -> None:
    """All the rest, straight from the socket, because streams would be the bottleneck."""
    loop = asyncio.get_running_loop()
    buffer = bytearray(2**20)
    while received < GIB:
        count = await loop.sock_recv_into(sock, buffer)
        assert count, f"ended {GIB - received} bytes short"
        received += count


@pytest.mark.parametrize("gateway_loop", ["uvloop", "asyncio"])
async def test_download_of_a_gibibyte_to_a_slow_reader_stays_under_64_mib(gateway_loop: str) -> None:
    """The target is held back while the client does not read; all of it arrives in the end."""
    sent = [0]

    async def pour(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
        await send_gibibyte(conversation, sent)
        await conversation.read_to_end()

    async with target(pour) as origin, gateway_process(gateway_loop, origin.address) as (port, pid):
        idle = memory(pid, "VmRSS")
        with socket.socket() as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, request("GET", "/"))
            assert await settled(sent) < 64 * 2**20
            head = b""
            while b"\r\n\r\n" not in head:
                head += await loop.sock_recv(sock, 1)
            await read_gibibyte(sock, 0)
        assert memory(pid, "VmHWM") - idle < MOST_ABOVE_IDLE


@pytest.mark.parametrize("gateway_loop", ["uvloop", "asyncio"])
async def test_upload_of_a_gibibyte_to_a_slow_target_stays_under_64_mib(gateway_loop: str) -> None:
    """The client is held back while the target does not read; all of it arrives in the end."""
    sent = [0]
    read_on = asyncio.Event()
    received = 0

    async def drink(conversation: Conversation) -> None:
        nonlocal received
        await conversation.head()
        await read_on.wait()
        while received < GIB:
            data = await conversation.reader.read(2**20)
            assert data
            received += len(data)
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        await conversation.read_to_end()

    async with target(drink) as origin, gateway_process(gateway_loop, origin.address) as (port, pid):
        idle = memory(pid, "VmRSS")
        client = await RawClient.connect(port)
        client.send(request("POST", "/", f"Content-Length: {GIB}"))
        sending = asyncio.ensure_future(send_gibibyte(client, sent))
        # The target's stream reader takes 128 MiB by itself before it holds back.
        assert await settled(sent) < 256 * 2**20
        read_on.set()
        await sending
        assert (await client.response()).body == b"done"
        await client.close()
        assert memory(pid, "VmHWM") - idle < MOST_ABOVE_IDLE
