"""A WebSocket echo client with permessage-deflate, that has a fuzzing server try all its cases on it.

    python echo_client.py SERVER AGENT=URL...

SERVER is the address of the fuzzing server itself, each URL a way to it; the agents' names stand in the server's reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from aiohttp import ClientError, ClientSession, WSMsgType

CASES_AT_ONCE = 6
"""Of each agent: most of a run is waiting."""

CASE_TIMEOUT = 30.0


async def answer(session: ClientSession, url: str) -> str:
    """The first message of a connection that is there for it."""
    async with session.ws_connect(url) as connection:
        return str((await connection.receive()).data)


async def echo(session: ClientSession, url: str) -> None:
    async with session.ws_connect(url, compress=15, max_msg_size=0) as connection:
        # Many cases end the connection in the midst of it.
        with contextlib.suppress(ClientError, ConnectionError):
            async for message in connection:
                if message.type is WSMsgType.TEXT:
                    await connection.send_str(message.data)
                elif message.type is WSMsgType.BINARY:
                    await connection.send_bytes(message.data)


async def run_agent(session: ClientSession, server: str, agent: str, url: str, count: int, stuck: list[str]) -> None:
    places = asyncio.Semaphore(CASES_AT_ONCE)

    async def run_case(case: int) -> None:
        async with places:
            try:
                async with asyncio.timeout(CASE_TIMEOUT):
                    await echo(session, f"{url}/runCase?case={case}&agent={agent}")
                    # Answered when the server has its result, which may be later than the end of the connection here.
                    await answer(session, f"{server}/getCaseStatus?case={case}&agent={agent}")
            except TimeoutError:
                stuck.append(f"{agent}: the {case}. case")

    async with asyncio.TaskGroup() as cases:
        for case in range(1, count + 1):
            cases.create_task(run_case(case))


async def main(server: str, *agents: str) -> None:
    stuck: list[str] = []
    async with ClientSession() as session:
        count = int(await answer(session, f"{server}/getCaseCount"))
        async with asyncio.TaskGroup() as running:
            for agent, url in (given.split("=", 1) for given in agents):
                running.create_task(run_agent(session, server, agent, url, count, stuck))
        await answer(session, f"{server}/updateReports?agent=any")
    if stuck:
        sys.exit(f"no end within {CASE_TIMEOUT} seconds: {', '.join(stuck)}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
