"""HTTPS: a certificate, a redirect from HTTP, WebSockets over TLS, and a certificate renewed without a restart.

Run it without arguments. It creates self-signed certificates (in production they come from a CA), starts a small server, shows what
happens, and exits. If a step does not behave as described, it prints what is missing and exits with status 1.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import albkit as alb


async def main() -> None:
    """Start a target and two listeners, send some requests, renew the certificate."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        first = make_certificate(folder)
        group = alb.TargetGroup("web", await start_target(stack), stickiness=alb.LbCookie(3600))
        secure = alb.Listener(
            0,  # In production: 443.
            alb.Forward(group),
            protocol="HTTPS",
            certificates=alb.Certificate(folder / "site.pem"),
            host="127.0.0.1",
        )
        # By default, certificate files are checked for changes every 5 seconds.
        lb = await stack.enter_async_context(alb.LoadBalancer(secure, certificate_check_interval=0.1))
        url = f"https://localhost:{lb.listeners[0].port}"
        # With fixed ports, one load balancer takes both listeners, with `alb.Redirect(protocol="HTTPS", port=443)` on the plain one.
        plain = alb.Listener(0, alb.Redirect(protocol="HTTPS", port=lb.listeners[0].port), host="127.0.0.1")
        front = await stack.enter_async_context(alb.LoadBalancer(plain))

        async with client_that_trusts(folder) as client:
            async with client.get(f"http://localhost:{front.listeners[0].port}/page", allow_redirects=False) as answer:
                print(f"GET http://.../page -> {answer.status} to https, same host and path")
                check(answer.headers["Location"] == f"{url}/page", "HTTP is redirected to HTTPS")
            async with client.get(f"{url}/page") as answer:
                print(f"GET https://.../page -> {answer.status} {await answer.text()}")
                check(answer.status == 200, "the page is served over HTTPS")
                cookies = [value.split(";", 1)[0].split("=")[0] for value in answer.headers.getall("Set-Cookie")]
                check(cookies == ["AWSALB", "AWSALBCORS"], "the response sets the stickiness cookies")
            async with client.ws_connect(f"{url}/echo".replace("https", "wss")) as chat:
                await chat.send_str("hello through TLS")
                print(f"wss://.../echo -> {await chat.receive_str()}")
                check(await served_certificate(lb.listeners[0].port) == first, "the listener serves the first certificate")

                print("the certificate is renewed on disk:")
                renewed = asyncio.Event()
                lb.subscribe(lambda _: renewed.set(), alb.events.CertificatesRead)
                second = make_certificate(folder)
                await asyncio.wait_for(renewed.wait(), 8)
                check(await served_certificate(lb.listeners[0].port) == second != first, "a new connection gets the new certificate")
                await chat.send_str("still here")
                print(f"  a new connection gets the new certificate; the open WebSocket still works: {await chat.receive_str()}")


def make_certificate(folder: Path) -> bytes:
    """Write a key and a self-signed certificate for localhost, valid for 90 days, to site.pem. Return the certificate in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # One file, replaced atomically. With two files, key and certificate do not match between the two writes; such a pair is not loaded.
    (folder / "new.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    (folder / "new.pem").replace(folder / "site.pem")
    return made.public_bytes(serialization.Encoding.DER)


def client_that_trusts(folder: Path) -> aiohttp.ClientSession:
    """Create a client that trusts the certificate in the folder."""
    context = ssl.create_default_context(cafile=str(folder / "site.pem"))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


async def served_certificate(port: int) -> bytes | None:
    """Open a connection and return the certificate that the listener serves, in DER."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    certificate: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


async def start_target(stack: AsyncExitStack) -> str:
    """Start a target that serves plain HTTP. Return its address."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"a page, requested over {request.headers['X-Forwarded-Proto']}")

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/page", page)
    app.router.add_get("/echo", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"127.0.0.1:{runner.addresses[0][1]}"


def check(happened: bool, what: str) -> None:
    """Exit with status 1 if `happened` is false."""
    if not happened:
        raise SystemExit(f"expected, but did not happen: {what}")


if __name__ == "__main__":
    asyncio.run(main())
