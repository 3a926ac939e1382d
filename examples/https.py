"""HTTPS: a certificate, a redirect from HTTP, WebSockets over TLS, and a certificate that is renewed while all of that runs.

Run it as it stands: it makes certificates that it signs itself (yours come from a CA), starts a little server, shows what happens, and
ends by itself. Where something did not happen that it shows, it says so and ends with status 1.
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
    """Start everything, send some requests, renew the certificate."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        first = make_certificate(folder)
        group = alb.TargetGroup("web", await little_server(stack), stickiness=alb.LbCookie(3600))
        secure = alb.Listener(
            0,  # A gateway of your own says 443.
            alb.Forward(group),
            protocol="HTTPS",
            certificates=alb.Certificate(folder / "site.pem"),
            host="127.0.0.1",
        )
        # Files are looked at every 5 seconds, unless said otherwise.
        lb = await stack.enter_async_context(alb.LoadBalancer(secure, certificate_check_interval=0.1))
        url = f"https://localhost:{lb.listeners[0].port}"
        # With fixed ports one load balancer has both listeners, and `alb.Redirect(protocol="HTTPS", port=443)` is the whole line.
        plain = alb.Listener(0, alb.Redirect(protocol="HTTPS", port=lb.listeners[0].port), host="127.0.0.1")
        front = await stack.enter_async_context(alb.LoadBalancer(plain))

        async with client_that_trusts(folder) as client:
            async with client.get(f"http://localhost:{front.listeners[0].port}/page", allow_redirects=False) as answer:
                print(f"GET http://.../page -> {answer.status} to https, same host and path")
                check(answer.headers["Location"] == f"{url}/page", "HTTP is redirected to HTTPS")
            async with client.get(f"{url}/page") as answer:
                print(f"GET https://.../page -> {answer.status} {await answer.text()}")
                check(answer.status == 200, "the page is there")
                cookies = [value.split(";", 1)[0].split("=")[0] for value in answer.headers.getall("Set-Cookie")]
                check(cookies == ["AWSALB", "AWSALBCORS"], "the session has its cookies")
            async with client.ws_connect(f"{url}/echo".replace("https", "wss")) as chat:
                await chat.send_str("hello through TLS")
                print(f"wss://.../echo -> {await chat.receive_str()}")
                check(await shown(lb.listeners[0].port) == first, "the first certificate is shown")

                print("the certificate is renewed on disk:")
                renewed = asyncio.Event()
                lb.subscribe(lambda event: renewed.set() if isinstance(event, alb.events.CertificatesRead) else None)
                second = make_certificate(folder)
                await asyncio.wait_for(renewed.wait(), 8)
                check(await shown(lb.listeners[0].port) == second != first, "the next connection sees the new one")
                await chat.send_str("still here")
                print(f"  the next connection sees the new one; the old one goes on: {await chat.receive_str()}")


def make_certificate(folder: Path) -> bytes:
    """Write site.pem, a key and its certificate: for localhost, signed by itself, good for 90 days. The certificate, in DER."""
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
    # One file, put in place whole. With two, what is there between the two writes does not belong together, and is not taken up.
    (folder / "new.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    (folder / "new.pem").replace(folder / "site.pem")
    return made.public_bytes(serialization.Encoding.DER)


def client_that_trusts(folder: Path) -> aiohttp.ClientSession:
    """A client that trusts the certificate in the folder."""
    context = ssl.create_default_context(cafile=str(folder / "site.pem"))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


async def shown(port: int) -> bytes | None:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    certificate: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


async def little_server(stack: AsyncExitStack) -> str:
    """Start a target that speaks plain HTTP; its address."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"a page, asked for over {request.headers['X-Forwarded-Proto']}")

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
    """End with status 1 where something did not happen."""
    if not happened:
        raise SystemExit(f"this should have happened, and did not: {what}")


if __name__ == "__main__":
    asyncio.run(main())
