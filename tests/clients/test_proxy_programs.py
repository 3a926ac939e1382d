"""curl, HAProxy and nginx at both ends: TLS and the PROXY protocol as others speak them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from tests.support.authority import Authority
from tests.support.balancing import listener
from tests.support.peers import free_port
from tests.support.programs import haproxy, nginx, output_of, program
from tests.support.proxy_headers import all_going

AUTHORITY = Authority("Test CA")


class Files:
    """What programs read their certificates from."""

    def __init__(self, folder: Path) -> None:
        self.authority = AUTHORITY.write(folder, "authority")
        issued = AUTHORITY.issue("localhost", "www.example.com")
        self.certificate, self.key = issued.write(folder, "localhost")
        both = folder / "both.pem"
        both.write_bytes(issued.pem + issued.key_pem)
        self.both = str(both)
        self.client, self.client_key = AUTHORITY.issue(common_name="Ann", client=True).write(folder, "ann")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


async def tell(asked: alb.Request) -> alb.Response:
    """Answers with whom it takes the client for."""
    tls = asked.client.tls
    words = [asked.client.host]
    if tls is not None:
        certificate = tls.client_certificate
        words += [tls.version, tls.cipher, tls.server_name or "-", certificate.subject if certificate else "-", tls.verify_status or "-"]
    return alb.Response(200, body=" ".join(words).encode())


def telling(**settings: Any) -> alb.Listener:
    return listener([tell, alb.FixedResponse(200, "nobody")], **settings)


async def curl(*arguments: str) -> str:
    """What curl gets, which must be an answer of 200."""
    status, said, complaints = await output_of(program("curl"), "-q", "-sS", "--fail", "--noproxy", "*", "--max-time", "5", *arguments)
    assert status == 0, complaints
    return said


# curl.


async def test_curl_gets_two_answers_over_http() -> None:
    """Over one connection."""
    async with all_going(telling()) as it:
        url = f"http://127.0.0.1:{it.port}/"
        assert await curl(url, url) == "127.0.0.1" * 2
        assert it.counters["NewConnectionCount"] == 1


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_curl_verifies_our_certificate(version: str, files: Files) -> None:
    """By a name of its own choosing, and of no other name; ALPN agrees on HTTP/1.1 or HTTP/2, as curl asks."""
    door = telling(protocol="HTTPS", certificates=alb.Certificate(files.certificate, files.key))
    async with all_going(door) as it:
        common = ("--cacert", files.authority, f"--tlsv{version}", "--tls-max", version)
        said = await curl(*common, f"https://localhost:{it.port}/", "--resolve", f"localhost:{it.port}:127.0.0.1")
        assert said.startswith(f"127.0.0.1 TLSv{version} ")
        assert said.endswith(" localhost - -")
        said = await curl(*common, "--http2", f"https://www.example.com:{it.port}/", "--resolve", f"www.example.com:{it.port}:127.0.0.1")
        assert said.endswith(" www.example.com - -")
        other = (f"https://other.example.com:{it.port}/", "--resolve", f"other.example.com:{it.port}:127.0.0.1")
        status, _, complaints = await output_of(program("curl"), "-q", "-sS", *common, *other)
        assert status == 60, complaints


async def test_curl_that_speaks_http_to_https_is_told_so(files: Files) -> None:
    """400, in its own words."""
    door = telling(protocol="HTTPS", certificates=alb.Certificate(files.certificate, files.key))
    async with all_going(door) as it:
        _, said, _ = await output_of(
            program("curl"), "-q", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{it.port}/"
        )
        assert said == "400"


async def test_curl_says_who_it_is_before_http_and_tls(files: Files) -> None:
    """--haproxy-protocol: a header of version 1 in front."""
    doors = [
        telling(proxy_protocol="required"),
        telling(proxy_protocol="required", protocol="HTTPS", certificates=alb.Certificate(files.certificate, files.key)),
    ]
    async with all_going(*doors) as it:
        plain, secure = (running.port for running in it.load_balancer.listeners)
        assert await curl("--haproxy-protocol", f"http://127.0.0.1:{plain}/") == "127.0.0.1"
        resolved = ("--cacert", files.authority, "--resolve", f"localhost:{secure}:127.0.0.1")
        assert (await curl("--haproxy-protocol", *resolved, f"https://localhost:{secure}/")).startswith("127.0.0.1 TLSv1.3 ")
        status, _, _ = await output_of(program("curl"), "-q", "-sS", "--noproxy", "*", f"http://127.0.0.1:{plain}/")
        assert status in (52, 56)
        assert it.counters["Failure_ProxyHeaderMissing"] == 1


# HAProxy before us.


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"])
async def test_haproxy_before_us_tells_its_client(how: str) -> None:
    """The client's address is the one that it has at HAProxy: told apart by another loopback address."""
    async with all_going(telling(proxy_protocol="required", trusted_networks="127.0.0.1/32")) as it:
        port = free_port()
        sections = f"listen front\n    bind 127.0.0.1:{port}\n    unique-id-format %[uuid]\n    server us 127.0.0.1:{it.port} {how}\n"
        async with haproxy(sections, port):
            url = f"http://127.0.0.1:{port}/"
            assert await curl("--interface", "127.0.0.9", url, url) == "127.0.0.9" * 2


async def test_haproxy_that_checks_us_is_its_own_client() -> None:
    """`check-send-proxy` with version 2: LOCAL; nothing is logged as a failure, and the server counts as up."""
    async with all_going(telling(proxy_protocol="required")) as it:
        port = free_port()
        sections = (
            f"listen front\n    bind 127.0.0.1:{port}\n    option httpchk GET /\n"
            f"    server us 127.0.0.1:{it.port} send-proxy-v2 check check-send-proxy inter 50ms\n"
        )
        async with haproxy(sections, port):
            async with asyncio.timeout(5):
                while it.load_balancer.counters["NewConnectionCount"] < 3:
                    await asyncio.sleep(0.01)
            assert await curl("--interface", "127.0.0.9", "--retry", "3", f"http://127.0.0.1:{port}/") == "127.0.0.9"
        assert not [name for name in it.counters if name.startswith("Failure_Proxy")]


@pytest.mark.parametrize("certificate", [False, True])
async def test_haproxy_that_ends_tls_before_us_tells_of_it(certificate: bool, files: Files) -> None:
    """send-proxy-v2-ssl-cn: version, cipher, and the name of a certificate that it has verified."""
    async with all_going(telling(proxy_protocol="required")) as it:
        port = free_port()
        asks = f" ca-file {files.authority} verify optional" if certificate else ""
        sections = (
            f"listen front\n    bind 127.0.0.1:{port} ssl crt {files.both}{asks}\n"
            f"    server us 127.0.0.1:{it.port} send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,ssl-cipher,authority\n"
        )
        async with haproxy(sections, port):
            shown = ("--cert", files.client, "--key", files.client_key) if certificate else ()
            resolved = ("--cacert", files.authority, "--resolve", f"localhost:{port}:127.0.0.1", "--interface", "127.0.0.9")
            said = await curl(*resolved, *shown, f"https://localhost:{port}/")
            version, cipher, *others = said.removeprefix("127.0.0.9 ").split(" ")
            assert (version, cipher.startswith("TLS_")) == ("TLSv1.3", True)
            assert others == ["localhost", *(["CN=Ann", "Success"] if certificate else ["-", "-"])]
            assert it.counters["NewConnectionCount"] >= 1


async def test_haproxy_that_passes_tls_on_lets_us_end_it(files: Files) -> None:
    """mode tcp: header, then the client's own handshake."""
    door = telling(proxy_protocol="required", protocol="HTTPS", certificates=alb.Certificate(files.certificate, files.key))
    async with all_going(door) as it:
        port = free_port()
        sections = f"listen front\n    mode tcp\n    bind 127.0.0.1:{port}\n    server us 127.0.0.1:{it.port} send-proxy-v2\n"
        async with haproxy(sections, port):
            resolved = ("--cacert", files.authority, "--resolve", f"localhost:{port}:127.0.0.1", "--interface", "127.0.0.9")
            said = await curl(*resolved, f"https://localhost:{port}/")
            assert said.startswith("127.0.0.9 TLSv1.3 ")
            assert said.endswith(" localhost - -")


# nginx and HAProxy behind us.


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("secure", [False, True])
async def test_nginx_behind_us_is_told_of_the_client(version: str, secure: bool, files: Files) -> None:
    """`$proxy_protocol_addr` and, by set_real_ip_from, `$remote_addr`; before its own TLS as well."""
    port = free_port()
    tls = f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key};" if secure else ""
    servers = (
        f"server {{ listen 127.0.0.1:{port} proxy_protocol{' ssl' if secure else ''}; {tls}\n"
        "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;\n"
        'return 200 "$proxy_protocol_addr $proxy_protocol_server_port $remote_addr $http_x_forwarded_for\\n"; }\n'
    )
    async with nginx(servers, port):
        address = f"{'https' if secure else 'http'}://127.0.0.1:{port}"
        check = alb.HealthCheck(interval=5, timeout=2, healthy_threshold=2)
        group = alb.TargetGroup("nginx", address, proxy_protocol=version, health_check=check)
        async with all_going(listener(alb.Forward(group))) as it:
            url = f"http://127.0.0.1:{it.port}/"
            line = "{0} {1} {0} {0}\n"
            for client in ("127.0.0.9", "127.0.0.8"):
                assert await curl("--interface", client, url, url) == line.format(client, it.port) * 2
            assert it.counters["HealthyHostCount"] == 1


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("protocol", ["TCP", "TLS"])
async def test_haproxy_behind_a_stream_is_told_of_the_client(version: str, protocol: str, files: Files) -> None:
    """`accept-proxy`; behind a TLS listener with version 2 of the client's TLS as well."""
    port = free_port()
    sections = (
        f"frontend back\n    bind 127.0.0.1:{port} accept-proxy\n"
        '    http-request return status 200 content-type text/plain lf-string "%[src] %[dst_port] %[fc_pp_authority]"\n'
    )
    settings = {"certificates": alb.Certificate(files.certificate, files.key)} if protocol == "TLS" else {}
    async with haproxy(sections, port):
        group = alb.TargetGroup("haproxy", f"127.0.0.1:{port}", protocol="TCP", proxy_protocol=version)
        async with all_going(listener(alb.Forward(group), protocol=protocol, **settings)) as it:
            scheme = "https" if protocol == "TLS" else "http"
            resolved = ("--cacert", files.authority, "--resolve", f"localhost:{it.port}:127.0.0.1", "--interface", "127.0.0.9")
            said = await curl(*resolved, f"{scheme}://localhost:{it.port}/")
            authority = "localhost" if protocol == "TLS" and version == "v2" else ""
            assert said == f"127.0.0.9 {it.port} {authority}"


async def test_haproxy_before_us_and_nginx_behind_us_agree_on_the_client() -> None:
    """A chain of three: PROXY in and PROXY out."""
    behind, before = free_port(), free_port()
    servers = f'server {{ listen 127.0.0.1:{behind} proxy_protocol; return 200 "$proxy_protocol_addr $proxy_protocol_server_port"; }}\n'
    async with nginx(servers, behind):
        group = alb.TargetGroup("nginx", f"127.0.0.1:{behind}", proxy_protocol="v2")
        async with all_going(listener(alb.Forward(group), proxy_protocol="required")) as it:
            sections = f"listen front\n    bind 127.0.0.1:{before}\n    server us 127.0.0.1:{it.port} send-proxy-v2\n"
            async with haproxy(sections, before):
                assert await curl("--interface", "127.0.0.9", f"http://127.0.0.1:{before}/") == f"127.0.0.9 {before}"
