"""Which certificate a client is shown, what becomes of files that change, and of those that cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.events import CertificatesRead, Event
from tests.support.authority import Issued
from tests.support.clock import FakeClock
from tests.support.log_lines import failures
from tests.support.peers import free_port
from tests.support.secure import AUTHORITY, Secured, certificate, client_context, https, own_name, securing, until

OK = alb.FixedResponse(200)
FIVE = timedelta(seconds=5)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(40):
        yield


CONTEXT = client_context()
RSA_ONLY = client_context("TLSv1.2", ciphers="ECDHE-RSA-AES128-GCM-SHA256")


def shown(it: Issued) -> alb.Certificate:
    return alb.Certificate(it.pem, it.key_pem)


async def seen(it: Secured, name: str | None = "example.com", context: ssl.SSLContext = CONTEXT) -> Issued | str:
    """The common name of what a client is shown."""
    client = await it.secure(context, name=name)
    return own_name(client.tls.getpeercert(True))


def named(common_name: str, *names: str, **more: Any) -> Issued:
    """A certificate that tells itself from others by its common name."""
    return AUTHORITY.issue(*names, common_name=common_name, **more)


# By name.


LIST = [
    named("default", "default.example", "b.example"),
    named("a", "a.example"),
    named("wild", "*.wild.example"),
    named("exact", "x.wild.example"),
    named("ec", "both.example"),
    named("rsa", "both.example", key="rsa2048"),
    named("rsa alone", "rsa.example", key="rsa2048"),
]


@pytest.mark.parametrize(
    ("name", "common_name"),
    [
        (None, "default"),
        ("a.example", "a"),
        ("A.Example", "a"),
        ("one.wild.example", "wild"),
        ("one.two.wild.example", "default"),
        ("wild.example", "default"),
        ("nobody.example", "default"),
        ("default.example", "default"),
        ("both.example", "ec"),
        ("rsa.example", "rsa alone"),
        ("localhost", "default"),
        ("xn--mnchen-3ya.example", "default"),
        ("a.example.example", "default"),
        ("under_score.wild.example", "wild"),
        ("*.wild.example", "wild"),
        ("-.-", "default"),
    ],
)
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_client_is_shown_the_certificate_for_its_name(name: str | None, common_name: str, version: str) -> None:
    """The default for no name and for one that nobody else has; wildcards for one label; ECDSA before RSA."""
    async with securing(https(OK, certificates=[shown(one) for one in LIST])) as it:
        assert await seen(it, name, client_context(version)) == common_name


async def test_client_that_knows_rsa_alone_is_shown_rsa() -> None:
    """Where there are both; without one it is refused, and the default does not jump in: ALB's choice goes by name."""
    labels: list[str] = []

    async def hook(it: alb.Request) -> None:
        assert it.client.tls is not None
        labels.append(it.client.tls.certificate)

    async with securing(https([hook, OK], certificates=[shown(one) for one in LIST])) as it:
        assert await seen(it, "both.example", RSA_ONLY) == "rsa"
        for context in (RSA_ONLY, CONTEXT):
            await (await it.secure(context, name="both.example")).get()
        assert len(set(labels)) == 2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await it.secure(RSA_ONLY, name="a.example")
        await until(lambda: "TlsHandshakeFailed" in it.failures)


async def test_default_is_not_in_the_list_unless_it_is_given_twice() -> None:
    """As in ALB: better certificates for the default's own name win, and it takes part where it stands in the list as well."""
    default, weak = named("default", "a.example", key="ec384"), named("weak", "a.example")
    async with securing(https(OK, certificates=[shown(default), shown(weak)])) as it:
        assert await seen(it, "a.example") == "weak"
    async with securing(https(OK, certificates=[shown(default), shown(weak), shown(default)])) as it:
        assert await seen(it, "a.example") == "default"


def with_name(hello: bytes, before: bytes, name: bytes) -> bytes:
    """A ClientHello that asks for another name of the same length."""
    assert len(before) == len(name)
    assert hello.count(before) == 1
    return hello.replace(before, name)


ODD = {
    "latin-1": b"\xe9" * 20,
    "utf-8": "ä".encode() * 10,
    "high": b"\xff" * 20,
    "zero": b"a.example\0b.example.",
    "spaces": b" " * 20,
    "controls": bytes(range(1, 21)),
    "dots": b"." * 20,
    "slashes": b"../../../../etc/pass",
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_odd_server_name_costs_its_own_handshake_at_most(
    kind: str, version: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Refused or served with the default; one line in the log at the most, nothing on stderr; the next client is served."""
    caplog.set_level(logging.DEBUG, "albkit")
    async with securing(https(OK)) as it:
        client = await it.raw()
        client.writer.write(with_name(client.start(client_context(version), name="a" * 20), b"a" * 20, ODD[kind]))
        with contextlib.suppress(ConnectionError):
            client.send_bare_fin()
            await client.reader.read()
        await until(lambda: not it.runtime.clients)
        assert it.failures == {"TlsHandshakeFailed": 1}  # What was changed does not pass Finished, served or not.
        assert len(failures(caplog.records)) == 1
        assert await seen(it)
    assert capfd.readouterr().err == ""


async def test_longest_server_name_is_shown_the_default() -> None:
    """253 characters that DNS could hold."""
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    async with securing(https(OK, certificates=[shown(one) for one in LIST])) as it:
        assert await seen(it, name) == "default"


# Files that cannot be used.


def bad_files(folder: Path) -> dict[str, tuple[alb.Certificate, str]]:
    """Certificates with every kind of fault, and a word of what is said."""
    good = AUTHORITY.issue("a.example")
    other = AUTHORITY.issue("b.example")
    cert, key = good.write(folder, "good")
    _, other_key = other.write(folder, "other")
    empty = folder / "empty.pem"
    empty.write_bytes(b"")
    text = folder / "text.pem"
    text.write_text("no PEM at all")
    weak = AUTHORITY.issue("c.example", key="rsa1024")
    return {
        "missing": (alb.Certificate(str(folder / "missing.pem"), key), "cannot be read"),
        "directory": (alb.Certificate(str(folder), key), "cannot be read"),
        "empty": (alb.Certificate(str(empty), key), "is empty"),
        "text": (alb.Certificate(str(text), key), "PEM"),
        "no key": (alb.Certificate(cert), "contains no private key"),
        "missing key": (alb.Certificate(cert, str(folder / "missing.key")), "cannot be read"),
        "wrong key": (alb.Certificate(cert, other_key), "key"),
        "weak": (alb.Certificate(weak.pem, weak.key_pem), "1024"),
        "encrypted": (alb.Certificate(good.pem, good.key_pem_encrypted("secret")), "encrypted"),
        "wrong password": (alb.Certificate(good.pem, good.key_pem_encrypted("secret"), password="other"), "password"),
    }


async def test_start_tells_every_fault_at_once_with_its_path(tmp_path: Path) -> None:
    """`listeners[1].certificates[0]: ...`; nothing is open then, and no password is told."""
    bad = bad_files(tmp_path)
    doors = [https(OK), https(OK, certificates=[one for one, _ in bad.values()]), https(OK, certificates=[certificate(), bad["empty"][0]])]
    load_balancer = alb.LoadBalancer(doors)
    with pytest.raises(alb.ConfigurationError) as caught:
        await load_balancer.start()
    faults = caught.value.faults
    assert len(faults) == len(bad) + 1
    for place, (fault, (kind, (_, word))) in enumerate(zip(faults, bad.items(), strict=False)):
        assert fault.startswith(f"listeners[1].certificates[{place}]: "), kind
        assert word in fault, kind
        assert "secret" not in fault
    assert faults[-1].startswith("listeners[2].certificates[1]: ")
    assert load_balancer.listeners == ()
    await load_balancer.stop()


async def test_apply_with_a_bad_certificate_changes_nothing(tmp_path: Path) -> None:
    """The old description, its certificates and its rules stay."""
    async with securing(https(OK, name="door", certificates=shown(LIST[1]))) as it:
        before = it.load_balancer.listeners
        with pytest.raises(alb.ConfigurationError, match=r"listeners\[0\]\.certificates\[0\]"):
            await it.load_balancer.apply(https(alb.FixedResponse(404), name="door", certificates=bad_files(tmp_path)["missing"][0]))
        assert it.load_balancer.listeners == before
        client = await it.secure()
        assert own_name(client.tls.getpeercert(True)) == "a"
        assert (await client.get()).status == 200


async def test_apply_takes_another_certificate_and_policy_for_new_connections() -> None:
    """Those that are open go on with what they have."""
    async with securing(https(OK, name="door", certificates=shown(LIST[1]))) as it:
        old = await it.secure(client_context("TLSv1.2"))
        assert (await old.get()).status == 200
        policy = "ELBSecurityPolicy-TLS13-1-3-2021-06"
        await it.load_balancer.apply(https(alb.FixedResponse(404), name="door", certificates=shown(LIST[0]), ssl_policy=policy))
        new = await it.secure()
        assert (own_name(new.tls.getpeercert(True)), new.tls.version()) == ("default", "TLSv1.3")
        assert (await new.get()).status == (await old.get()).status == 404
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await it.secure(client_context("TLSv1.2"))
        await until(lambda: len(it.runtime.clients) == 2)


async def test_apply_in_mid_handshake_lets_it_end_as_it_began() -> None:
    """Whoever has said hello is served."""
    async with securing(https(OK, name="door", certificates=shown(LIST[1]))) as it:
        client = await it.raw()
        hello = client.start()
        client.writer.write(hello[:50])
        await until(lambda: any(getattr(one, "_tls", None) for one in it.runtime.clients))
        await it.load_balancer.apply(https(OK, name="door", certificates=shown(LIST[0])))
        client.writer.write(hello[50:])
        await client.finish()
        assert own_name(client.tls.getpeercert(True)) == "a"
        assert (await client.get()).status == 200


@pytest.mark.parametrize("secure_first", [True, False])
async def test_apply_changes_http_to_https_and_back_on_one_port(secure_first: bool) -> None:
    """The socket stays open; open connections go on as they are."""
    port = free_port()
    both = [
        https(OK, port=port, certificates=shown(LIST[1])),
        alb.Listener(port, OK, host="127.0.0.1"),
    ]
    first, second = both if secure_first else reversed(both)
    async with securing(first) as it:
        old: Any = await it.secure() if secure_first else await super(Secured, it).client()
        assert (await old.get()).status == 200
        await it.load_balancer.apply(second)
        assert (await old.get()).status == 200
        new: Any = await super(Secured, it).client() if secure_first else await it.secure()
        assert (await new.get()).status == 200
        assert it.load_balancer.listeners[0].url.startswith("http://" if secure_first else "https://")


# Files that change.


class Watched:
    """A running load balancer with one certificate in files."""

    def __init__(self, it: Secured, certificate_path: Path, key_path: Path) -> None:
        self.it = it
        self.certificate = certificate_path
        self.key = key_path
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        it.load_balancer.subscribe(self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event, CertificatesRead):
            self.events.put_nowait(event)

    async def read(self) -> None:
        """Wait until changed files are in force."""
        async with asyncio.timeout(10):
            event = await self.events.get()
        assert isinstance(event, CertificatesRead)
        assert str(self.certificate) in event.files

    async def seen(self) -> Issued | str:
        return await seen(self.it)


@contextlib.asynccontextmanager
async def watched(folder: Path, clock: Any = None, **settings: Any) -> AsyncIterator[Watched]:
    """With "old" in force."""
    paths = named("old", "example.com").write(folder, "door")
    more = {} if clock is None else {"clock": clock}
    async with securing(https(OK, certificates=alb.Certificate(*paths)), certificate_check_interval=0.01, **more, **settings) as it:
        yield Watched(it, *map(Path, paths))


async def one_more_look(it: Watched, count: int = 2) -> None:
    """Wait until the watch has looked at the files as often again."""
    looked = 0
    loop = it.it.runtime.loop
    from albkit.control import certificate_watch

    before = certificate_watch.stamp_of
    done = asyncio.Event()

    def counting(paths: Any) -> Any:
        nonlocal looked
        looked += 1
        if looked > count:
            loop.call_soon_threadsafe(done.set)
        return before(paths)

    certificate_watch.stamp_of = counting
    try:
        async with asyncio.timeout(10):
            await done.wait()
    finally:
        certificate_watch.stamp_of = before


def replace(path: Path, content: bytes, how: str) -> None:
    """Write a file anew, in one of the ways of the world."""
    if how == "in place":
        path.write_bytes(content)
    else:
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.rename(path)


@pytest.mark.parametrize("how", ["in place", "rename"])
async def test_replaced_files_are_taken_up(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Both in one moment; a connection that was open goes on."""
    async with watched(tmp_path) as it:
        old = await it.it.secure()
        assert own_name(old.tls.getpeercert(True)) == "old"
        new = named("new", "example.com")
        combined = {it.key: new.key_pem, it.certificate: new.pem}
        for path, content in combined.items():
            replace(path, content, how)
        await it.read()
        assert await it.seen() == "new"
        assert (await old.get()).status == 200
        again = await it.it.secure()
        assert (await again.get()).status == 200
    for record in caplog.records:
        assert "stays in use" in record.getMessage()  # It may have looked between the two.


@pytest.mark.parametrize("how", ["file", "folder"])
async def test_symbolic_link_that_is_turned_is_taken_up(tmp_path: Path, how: str) -> None:
    """As certbot has it, the file is a link that leads to another one at once; as Kubernetes has it, a folder on the way is."""
    for number, name in ((1, "old"), (2, "new")):
        issued = named(name, "example.com")
        folder = tmp_path / f"archive{number}"
        folder.mkdir()
        (folder / "door.pem").write_bytes(issued.pem + issued.key_pem)
    live = tmp_path / "live"
    live.mkdir()
    link = live / "door.pem"
    if how == "file":
        turning, leads_to = link, "../archive{}/door.pem"
    else:
        turning, leads_to = live / "data", "../archive{}"
        link.symlink_to("data/door.pem")
    turning.symlink_to(leads_to.format(1))
    async with securing(https(OK, certificates=alb.Certificate(str(link))), certificate_check_interval=0.01) as balancer:
        it = Watched(balancer, link, link)
        assert await it.seen() == "old"
        turned = live / "turned"
        turned.symlink_to(leads_to.format(2))
        turned.rename(turning)
        await it.read()
        assert await it.seen() == "new"


@pytest.mark.parametrize("first", ["key", "certificate"])
async def test_half_a_change_waits_for_the_other_half(tmp_path: Path, first: str, caplog: pytest.LogCaptureFixture) -> None:
    """The old one stays, one warning is logged however often the files are looked at, and the other half puts the new one in force."""
    async with watched(tmp_path) as it:
        new = named("new", "example.com")
        contents = {"key": (it.key, new.key_pem), "certificate": (it.certificate, new.pem)}
        replace(*contents.pop(first), "rename")
        await one_more_look(it, 4)
        assert await it.seen() == "old"
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert "stays in use" in record.getMessage()
        assert "listeners[0].certificates[0]" in record.getMessage()
        (rest,) = contents.values()
        replace(*rest, "rename")
        await it.read()
        assert await it.seen() == "new"
        assert len(caplog.records) == 1


async def test_removed_file_leaves_what_is_in_force(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning; a new file is taken up."""
    async with watched(tmp_path) as it:
        it.certificate.unlink()
        await one_more_look(it, 4)
        assert await it.seen() == "old"
        (record,) = caplog.records
        assert "cannot be read" in record.getMessage()
        new = named("new", "example.com")
        it.key.write_bytes(new.key_pem)
        await one_more_look(it, 2)
        it.certificate.write_bytes(new.pem)
        await it.read()
        assert await it.seen() == "new"


async def test_bytes_are_not_watched(tmp_path: Path) -> None:
    """Nothing can change: nobody looks, until a certificate of files is applied."""
    async with securing(https(OK, name="door", certificates=shown(LIST[0]))) as balancer:
        watch = balancer.load_balancer._certificates
        assert watch is not None
        paths = named("old", "example.com").write(tmp_path, "door")
        await balancer.load_balancer.apply(https(OK, name="door", certificates=alb.Certificate(*paths)))
        assert await seen(balancer) == "old"
        assert watch._task is not None


async def test_files_of_another_description_are_watched_from_apply_on(tmp_path: Path) -> None:
    """And those of the former one no more."""
    async with watched(tmp_path) as it:
        other = tmp_path / "other"
        other.mkdir()
        paths = [Path(path) for path in named("other", "example.com").write(other, "door")]
        port = it.it.load_balancer._settings.listeners[0].port
        await it.it.load_balancer.apply(https(OK, port=port, certificates=alb.Certificate(*map(str, paths))))
        assert await it.seen() == "other"
        it.certificate.write_bytes(b"")
        newer = named("newer", "example.com")
        paths[1].write_bytes(newer.key_pem)
        paths[0].write_bytes(newer.pem)
        it.certificate = paths[0]
        await it.read()
        assert await it.seen() == "newer"


async def test_stop_while_files_are_read_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch is let go of; nothing is told behind the end."""
    import threading

    from albkit.control import certificate_watch

    reading, going_on = threading.Event(), threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()
    before = certificate_watch.stamp_of

    def slow(paths: Any) -> Any:
        loop.call_soon_threadsafe(began.set)
        reading.set()
        going_on.wait(10)
        return before(paths)

    try:
        async with watched(tmp_path) as it:
            monkeypatch.setattr(certificate_watch, "stamp_of", slow)
            await began.wait()
            async with asyncio.timeout(3):
                await it.it.load_balancer.stop()
            assert it.events.empty()
    finally:
        going_on.set()


# Time.


def at(clock: FakeClock, delta: timedelta) -> datetime:
    return datetime.fromtimestamp(clock.wall, UTC).replace(microsecond=0) + delta


@pytest.mark.parametrize(
    ("since", "until_", "words"),
    [(-30 * DAY, -DAY, "expired"), (-30 * DAY, 3 * DAY, "expires"), (DAY, 30 * DAY, "not valid")],
)
async def test_certificate_out_of_its_time_is_warned_of(
    since: timedelta, until_: timedelta, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is shown all the same: ALB does so too."""
    clock = FakeClock()
    it = named("late", "example.com", not_before=at(clock, since), not_after=at(clock, until_))
    async with securing(https(OK, certificates=shown(it)), clock=clock) as balancer:
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert words in record.getMessage()
        assert await seen(balancer) == "late"


async def test_certificate_in_its_time_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing to say."""
    clock = FakeClock()
    it = named("good", "example.com", not_before=at(clock, -DAY), not_after=at(clock, 89 * DAY))
    async with securing(https(OK, certificates=shown(it)), clock=clock):
        assert caplog.records == []


async def test_expiry_is_warned_of_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As long as it lasts."""
    clock = FakeClock()
    paths = named("late", "example.com", not_before=at(clock, -DAY), not_after=at(clock, 5 * DAY)).write(tmp_path, "door")
    settings = {"clock": clock, "certificate_check_interval": 0.01}
    async with securing(https(OK, certificates=alb.Certificate(*paths)), **settings) as balancer:
        it = Watched(balancer, *map(Path, paths))
        assert len(caplog.records) == 1
        await one_more_look(it)
        clock.advance(86_000)
        await one_more_look(it)
        assert len(caplog.records) == 1
        clock.advance(500)
        await one_more_look(it)
        assert len(caplog.records) == 2


@pytest.mark.parametrize("boundary", ["becomes valid", "expires"])
async def test_other_certificate_is_shown_as_time_goes_by(boundary: str) -> None:
    """Where one of two for a name becomes valid or expires, the choice is made anew; no file has changed."""
    clock = FakeClock()
    if boundary == "expires":
        first = named("first", "example.com", key="ec384", not_before=at(clock, -DAY), not_after=at(clock, DAY))
        second = named("second", "example.com", not_before=at(clock, -DAY), not_after=at(clock, 60 * DAY))
    else:
        first = named("first", "example.com", not_before=at(clock, -DAY), not_after=at(clock, 60 * DAY))
        second = named("second", "example.com", key="ec384", not_before=at(clock, DAY), not_after=at(clock, 60 * DAY))
    doors = https(OK, certificates=[shown(LIST[0]), shown(first), shown(second)])
    async with securing(doors, clock=clock, certificate_check_interval=0.01) as balancer:
        told: asyncio.Queue[Event] = asyncio.Queue()

        def hear(event: Event) -> None:
            if isinstance(event, CertificatesRead):
                told.put_nowait(event)

        balancer.load_balancer.subscribe(hear)
        assert await seen(balancer) == "first"
        clock.advance(86_402)
        async with asyncio.timeout(10):
            await told.get()
        assert await seen(balancer) == "second"
        assert told.empty()


# Without the packages.


WITHOUT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cryptography", "OpenSSL"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import asyncio
import albkit as alb

async def main():
    async with alb.LoadBalancer(alb.Listener(0, alb.FixedResponse(200), host="127.0.0.1")) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.listeners[0].port)
        writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
        print((await reader.read()).split(b"\\r\\n")[0].decode())
        writer.close()
    shown = alb.Certificate("cert.pem", "key.pem")
    secure = alb.Listener(0, alb.FixedResponse(200), host="127.0.0.1", protocol="HTTPS", certificates=shown)
    try:
        await alb.LoadBalancer([secure]).start()
    except alb.ConfigurationError as error:
        print(*error.faults, sep="\\n")

asyncio.run(main())
"""


def test_http_is_served_without_the_packages_for_tls() -> None:
    """And an HTTPS listener says what to install."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["HTTP/1.1 200 OK", "listeners[0]: HTTPS requires two more packages; run: pip install 'albkit[tls]'"]


async def test_default_that_a_listed_one_stands_in_front_of_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """ALB shows the default only where nothing listed matches, so the RSA certificate beside an ECDSA one would be shown to nobody."""
    rsa, ecdsa = named("rsa", "example.com", "*.example.com", key="rsa2048"), named("ecdsa", "*.example.com")
    async with securing(https(OK, certificates=[shown(rsa), shown(ecdsa)])):
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert "to include the default in the choice, give it twice" in record.getMessage()
    caplog.clear()
    other = named("other", "www.example.com")
    for together in ((rsa, rsa, ecdsa), (rsa, other), (rsa,)):
        async with securing(https(OK, certificates=[shown(it) for it in together])):
            assert caplog.records == []
