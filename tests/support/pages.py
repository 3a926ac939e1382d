"""The Python in a Markdown page, and a program that runs a page's short snippets: `python -P tests/support/pages.py docs/health.md`.

A page holds three kinds of code:

- A fenced `python` block that imports albkit is a whole program. Readers copy it into a file, and a test runs it alone.
- Every other fenced `python` block is a snippet. The snippets of a page run from top to bottom in one namespace, so that a later one may
  use the names of an earlier one. `await`, `async with` and `async for` may stand at the top level.
- `<!-- python` at the start of a line opens hidden code, up to a line `-->`. It runs in its place among the snippets: it prepares what a
  snippet uses, or asserts what a snippet claims. Nobody sees it on the rendered page.

A `text` block below a program or a snippet is what it must print.

The namespace holds `asyncio`, `alb` and two helpers: `start` and `target`.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import attrs
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

import albkit as alb

_BLOCK = re.compile(
    r"^```python\n(?P<shown>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?|^<!-- python\n(?P<hidden>.*?)^-->$", re.DOTALL | re.MULTILINE
)


class Block(NamedTuple):
    """A piece of code in a page.

    Attributes:
        line: The line of the page at which the code begins, from 1.
        code: The code.
        output: What the page says that it prints; `None` if it says nothing.
        is_program: Whether it is a whole program.
    """

    line: int
    code: str
    output: str | None
    is_program: bool


def blocks(text: str) -> Iterator[Block]:
    """Every program, snippet and hidden piece of code of a page, in order."""
    for found in _BLOCK.finditer(text):
        code = found["shown"] if found["hidden"] is None else found["hidden"]
        line = text.count("\n", 0, found.start()) + 2
        yield Block(line, code, found["output"], found["hidden"] is None and "import albkit" in code)


class _Helpers:
    """What snippets may call, beside albkit: their load balancers and targets are stopped when the page is at its end."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        self._stack = stack

    async def start(self, *listeners: alb.Listener, **settings: Any) -> alb.LoadBalancer:
        """Start a load balancer whose listeners take a free port of the loopback interface in place of their own."""
        local = [attrs.evolve(each, port=0, host="127.0.0.1") for each in listeners]
        return await self._stack.enter_async_context(alb.LoadBalancer(local, **{"stop_timeout": 0, **settings}))

    async def target(self, text: str = "hello") -> str:
        """Start a target and return its address. It answers `text` to every request, and echoes what WebSockets send."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Upgrade", "").lower() != "websocket":
                return web.Response(text=text)
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_str(message.data)
            return socket

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        server = await self._stack.enter_async_context(TestServer(app, host="127.0.0.1"))
        return f"127.0.0.1:{server.port}"


async def run_snippets(path: Path) -> list[str]:
    """Run the snippets and the hidden code of a page, and return how the output differs from what the page says.

    An exception of a snippet comes out as it is; its traceback names the lines of the page.
    """
    differences = []
    async with contextlib.AsyncExitStack() as stack:
        helpers = _Helpers(stack)
        namespace: dict[str, Any] = {
            "__name__": path.stem,
            "asyncio": asyncio,
            "alb": alb,
            "start": helpers.start,
            "target": helpers.target,
        }
        for block in blocks(path.read_text(encoding="utf-8")):
            if block.is_program:
                continue
            # Blank lines in front, so that tracebacks show the lines of the page.
            source = "\n" * (block.line - 1) + block.code
            code = compile(source, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                result = eval(code, namespace)
                if inspect.isawaitable(result):
                    await result
            if block.output is not None and printed.getvalue() != block.output:
                differences.append(f"{path}:{block.line}: prints\n{printed.getvalue()}and the page says\n{block.output}")
    return differences


if __name__ == "__main__":
    sys.exit("\n".join(asyncio.run(run_snippets(Path(sys.argv[1])))) or 0)
