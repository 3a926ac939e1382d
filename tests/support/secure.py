"""Clients and targets behind TLS, and load balancers that speak it with them.

The client is an `SSLObject` between the test and raw bytes on a socket: it can say goodbye and go on reading, leave without a word, and
send anything at all in the middle of a handshake, which no TLS of an event loop lets anybody do.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from tests.support.authority import Authority, Issued
from tests.support.balancing import Balancing
from tests.support.gateway import leaving_nothing
from tests.support.peers import Conversation, RawClient, Script, Target, answering, response

AUTHORITY = Authority("Test CA")
VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


@cache
def _issued(names: tuple[str, ...], key: Any) -> Issued:
    return AUTHORITY.issue(*(names or ("localhost", "127.0.0.1", "example.com")), key=key)


def issued(*names: str, key: Any = "ec256") -> Issued:
    """A certificate for these names, the same one for all who ask."""
    return _issued(names, key)


def certificate(*names: str, key: Any = "ec256") -> alb.Certificate:
    """The same, as a listener takes it: bytes, no file."""
    it = issued(*names, key=key)
    return alb.Certificate(it.pem, it.key_pem)


def own_name(seen: bytes | None) -> str:
    """The common name of a certificate in DER."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    assert seen is not None
    value = x509.load_der_x509_certificate(seen).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert isinstance(value, str)
    return value


def client_context(
    version: str | None = None, *, ciphers: str | None = None, alpn: tuple[str, ...] = (), verify: bool = False
) -> ssl.SSLContext:
    """A client that speaks one version or all, with some ciphers or all; it trusts the test's authority or anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify:
        context.load_verify_locations(cadata=AUTHORITY.pem().decode())
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 and 1.1 are asked for on purpose.
        context.minimum_version = VERSIONS[version] if version is not None else ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = VERSIONS[version] if version is not None else ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers((ciphers or "ALL") + ":@SECLEVEL=0")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class SecureClient(RawClient):
    """A client in raw bytes, behind TLS. Nothing runs in the background: what comes is decrypted when it is asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.tls: Any = None
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self._plain = bytearray()
        self.has_ended = False
        """Whether nothing more comes."""
        self._fin_sent = False
        self.was_told = False
        """Whether the other side has said goodbye with a close_notify before it ended."""

    @classmethod
    async def secure(
        cls,
        port: int,
        context: ssl.SSLContext | None = None,
        *,
        name: str | None = "example.com",
        session: ssl.SSLSession | None = None,
        slow: bool = False,
        before: bytes = b"",
    ) -> SecureClient:
        """Connect and shake hands; `before` is sent in front of it, in the clear."""
        self = await cls.connect(port, slow=slow)
        assert isinstance(self, cls)
        self.writer.write(before)
        try:
            await self.shake(context, name=name, session=session)
        except BaseException:
            await self.close()
            raise
        return self

    def start(
        self, context: ssl.SSLContext | None = None, *, name: str | None = "example.com", session: ssl.SSLSession | None = None
    ) -> bytes:
        """Begin a handshake: the ClientHello, which is not sent."""
        self.tls = (context or client_context()).wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    async def shake(
        self, context: ssl.SSLContext | None = None, *, name: str | None = "example.com", session: ssl.SSLSession | None = None
    ) -> None:
        """Do the handshake."""
        self.writer.write(self.start(context, name=name, session=session))
        await self.finish()

    async def finish(self) -> None:
        """The rest of a handshake whose ClientHello is sent."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._flush()
                raise
            else:
                self._flush()
                return
            self._flush()
            data = await self.reader.read(65536)
            if not data:
                raise ConnectionResetError("the load balancer closed in the handshake")
            self.incoming.write(data)

    def _flush(self) -> None:
        data = self.outgoing.read()
        if data and not self._fin_sent:
            self.writer.write(data)

    def send(self, data: bytes) -> None:
        self.sent += len(data)
        self.writer.write(self.sealed(data))

    def sealed(self, data: bytes) -> bytes:
        """The records of some bytes, which are not sent."""
        for start in range(0, len(data), 2**24):
            self.tls.write(data[start : start + 2**24])
        return self.outgoing.read()

    async def _pull(self) -> None:
        """Some more; notes the end."""
        data = await self.reader.read(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()
        try:
            while piece := self.tls.read(65536):
                self._plain += piece
            self.has_ended = self.was_told = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.has_ended = self.was_told = True
        except ssl.SSLEOFError:
            self.has_ended = True
        self._flush()

    def _take(self, size: int) -> bytes:
        data = bytes(self._plain[:size])
        del self._plain[:size]
        self._received += data
        return data

    async def read(self, size: int = 65536) -> bytes:
        while not self._plain and not self.has_ended:
            await self._pull()
        return self._take(size)

    async def read_exactly(self, size: int) -> bytes:
        while len(self._plain) < size:
            if self.has_ended:
                raise asyncio.IncompleteReadError(self._take(size), size)
            await self._pull()
        return self._take(size)

    async def read_until(self, separator: bytes) -> bytes:
        while (at := self._plain.find(separator)) < 0:
            if self.has_ended:
                raise asyncio.IncompleteReadError(self._take(len(self._plain)), None)
            await self._pull()
        return self._take(at + len(separator))

    async def read_to_end(self) -> bytes:
        while not self.has_ended:
            await self._pull()
        return self._take(len(self._plain))

    def say_goodbye(self) -> None:
        """Send a close_notify alone."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self._flush()

    def send_fin(self) -> None:
        """A close_notify, and FIN behind it; what comes is read on."""
        self.say_goodbye()
        self.send_bare_fin()

    def send_bare_fin(self) -> None:
        """FIN without a close_notify."""
        self._fin_sent = True
        self.writer.write_eof()


class Secured(Balancing):
    """A running load balancer whose clients speak TLS."""

    async def client(self, *, slow: bool = False) -> RawClient:
        return await self.secure(slow=slow)

    async def secure(self, context: ssl.SSLContext | None = None, *, place: int = 0, **more: Any) -> SecureClient:
        """A client behind its handshake."""
        client = await SecureClient.secure(self.load_balancer.listeners[place].port, context, **more)
        self.clients.append(client)
        return client

    async def raw(self) -> SecureClient:
        """One that has said nothing yet."""
        client = await SecureClient.connect(self.port)
        assert isinstance(client, SecureClient)
        self.clients.append(client)
        return client

    @property
    def failures(self) -> dict[str, int]:
        """How often what failed."""
        return {name.removeprefix("Failure_"): count for name, count in self.counters.items() if name.startswith("Failure_")}


def https(default: Any, *rules: alb.Rule, **settings: Any) -> alb.Listener:
    """An HTTPS listener on a free port of this machine alone."""
    settings.setdefault("certificates", certificate())
    return alb.Listener(settings.pop("port", 0), default, rules, host="127.0.0.1", protocol="HTTPS", **settings)


@contextlib.asynccontextmanager
async def securing(*listeners: alb.Listener, **settings: Any) -> AsyncIterator[Secured]:
    """A load balancer with these listeners; at the end nothing may be left of what went through it."""
    settings.setdefault("stop_timeout", 0.2)
    load_balancer = alb.LoadBalancer(listeners, **settings)
    entrances: list[Any] = []
    async with leaving_nothing(Secured(load_balancer)) as it:
        entrances += [running.listener_runtime for running in load_balancer._running]
        yield it
        entrances += [running.listener_runtime for running in load_balancer._running]
    assert [listener_runtime.limiter.count for listener_runtime in entrances] == [0] * len(entrances)


@contextlib.asynccontextmanager
async def secured(*targets: Any, hooks: Any = (), tunnel: alb.TunnelPolicy | None = None, **settings: Any) -> AsyncIterator[Secured]:
    """One HTTPS listener in front of one group of targets."""
    group = alb.TargetGroup("group", list(targets), tunnel=tunnel or alb.TunnelPolicy(), stickiness=settings.pop("stickiness", None))
    door = {name: settings.pop(name) for name in tuple(settings) if name in _OF_LISTENER}
    async with securing(https([*hooks, alb.Forward(group)], **door), **settings) as it:
        yield it


_OF_LISTENER = (
    "certificates",
    "http2",
    "proxy_protocol",
    "request_header_names",
    "response_headers",
    "rules",
    "ssl_policy",
    "trusted_networks",
)


class SecureTarget(Target):
    """A target behind TLS."""

    def __init__(self, script: Script, folder: Path) -> None:
        super().__init__(script)
        self._files = issued().write(folder, "target")

    async def open(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context, limit=2**26)

    @property
    def address(self) -> str:
        return f"https://{super().address}"


@contextlib.asynccontextmanager
async def secure_target(folder: Path, script: Script | None = None) -> AsyncIterator[SecureTarget]:
    """A running target behind TLS, which answers every request unless it has a script."""
    heads: list[bytes] = []
    it = SecureTarget(script or answering(heads, response()), folder)
    it.heads = heads
    await it.open()
    try:
        yield it
    finally:
        await it.close()


def program(name: str) -> str:
    """The path of a program; without it the test is skipped, or fails where everything is to run."""
    import os

    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"there is no {name} here, and everything is to run")
        pytest.skip(f"there is no {name} here")
    return found


async def until(true: Callable[[], bool], within: float = 5.0) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0)


async def echo_bodies(conversation: Conversation) -> None:
    """Answers each request with its own body."""
    while True:
        _, body = await conversation.request()
        conversation.send(response(200, body))
        await conversation.drain()
