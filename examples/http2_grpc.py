"""gRPC behind a load balancer: the calls of one connection are spread over three servers, one by one.

Run it without arguments. It starts its own servers and calls them with the client of grpcio (`pip install grpcio`). To keep the program
short, the messages are plain bytes instead of Protocol Buffers. If a step does not behave as described, it exits with status 1.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc

import albkit as alb

NAMES = (b"red", b"green", b"blue")
ITEMS = (b"pen", b"book", b"lamp")


async def start_server(name: bytes) -> tuple[grpc.aio.Server, str]:
    """Start a gRPC server with a unary method and one that streams in both directions."""

    async def price(item: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if item == b"unicorn":
            await context.abort(grpc.StatusCode.NOT_FOUND, "there are no unicorns")
        return name

    async def total(items: AsyncIterator[bytes], _: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        euros = 0
        async for item in items:
            euros += 5
            yield b"with %b: %d euros" % (item, euros)

    methods = {"Price": grpc.unary_unary_rpc_method_handler(price), "Total": grpc.stream_stream_rpc_method_handler(total)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Prices", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


def gateway(addresses: list[str]) -> alb.Listener:
    """Describe a listener that routes by gRPC service."""
    # Without path and matcher, the check shows that a gRPC server is running: it expects UNIMPLEMENTED.
    prices = alb.TargetGroup("prices", addresses, protocol_version="GRPC", health_check=alb.HealthCheck())
    closed = alb.TargetGroup("closed", "127.0.0.1:1", protocol_version="GRPC")
    rules = [
        alb.Rule(10, alb.PathPattern("/shop.Prices/*"), alb.Forward(prices)),
        alb.Rule(20, alb.PathPattern("/shop.Closed/*"), alb.Forward(closed)),
    ]
    return alb.Listener(0, alb.FixedResponse(404), rules, host="127.0.0.1")


async def status_of(channel: grpc.aio.Channel, method: str, message: bytes) -> grpc.StatusCode:
    """Call a unary method that fails, and return its status."""
    try:
        await channel.unary_unary(method)(message)
    except grpc.aio.AioRpcError as error:
        print(f"{method} {message.decode()}: {error.code().name}, {error.details()}")
        return error.code()
    return grpc.StatusCode.OK


async def call(channel: grpc.aio.Channel) -> None:
    """Call the services, as a client that knows nothing of a load balancer."""
    counted = Counter([await channel.unary_unary("/shop.Prices/Price")(b"pen") for _ in range(6)])
    print("calls per server:", {name.decode(): count for name, count in sorted(counted.items())})
    expect(counted, dict.fromkeys(NAMES, 2))

    stream = channel.stream_stream("/shop.Prices/Total")()
    for item in ITEMS:
        # Each message is answered before the next one is sent.
        await stream.write(item)
        print((await stream.read()).decode())
    await stream.done_writing()
    expect(await stream.code(), grpc.StatusCode.OK)

    # A status of the server, one of the load balancer for a server that it cannot reach, and a fixed response of 404.
    expect(await status_of(channel, "/shop.Prices/Price", b"unicorn"), grpc.StatusCode.NOT_FOUND)
    expect(await status_of(channel, "/shop.Closed/Price", b"pen"), grpc.StatusCode.UNAVAILABLE)
    expect(await status_of(channel, "/shop.Unknown/Price", b"pen"), grpc.StatusCode.UNIMPLEMENTED)


def expect(seen: object, expected: object) -> None:
    """Exit with status 1 if something is not as described."""
    if seen != expected:
        raise SystemExit(f"expected {expected}, saw {seen}")


async def main() -> None:
    """Start three servers and a load balancer, and call the servers through it."""
    logging.getLogger("albkit").setLevel(logging.CRITICAL)
    async with AsyncExitStack() as stack:
        addresses = []
        for name in NAMES:
            server, address = await start_server(name)
            stack.push_async_callback(server.stop, None)
            addresses.append(address)
        lb = alb.LoadBalancer(gateway(addresses))
        healthy = asyncio.Event()
        lb.subscribe(lambda _: healthy.set() if lb.counters["HealthyHostCount"] == len(NAMES) else None, alb.events.TargetStateChanged)
        await stack.enter_async_context(lb)
        async with asyncio.timeout(10):
            await healthy.wait()
        async with grpc.aio.insecure_channel(lb.listeners[0].url.removeprefix("http://")) as channel:
            await call(channel)
        print("gRPC requests:", lb.counters["GrpcRequestCount"])
        print("connections of the client:", lb.counters["Http2ConnectionCount"])


asyncio.run(main())
