"""The text that the demo prints when it is ready."""

from __future__ import annotations

from albkit.demo.gateway import Demo
from albkit.demo.table import aligned, rules_table

__all__ = ("welcome",)

_TO_TRY = """\
1. Open {url}/ in a browser and reload it: one target keeps your session. "Forget my session" sends you to the next one.
2. Open it a second time in a private window and chat: each WebSocket stays with one target, and each line names it.
   Or paste this into the browser's console:
     ws = new WebSocket("{ws}/ws"); ws.onmessage = e => console.log(e.data); ws.onopen = () => ws.send("echo")
3. See requests balanced over the targets, then kept on one of them by a cookie (run it twice: curl saves the cookie to a file):
     curl -s '{url}/api/name?[1-6]'
     curl -s -c /tmp/albkit-demo.jar -b /tmp/albkit-demo.jar '{url}/name?[1-6]'
4. Watch server-sent events arrive one by one:
     curl -N '{url}/api/stream'
5. See what a target receives of a request that a host rule routes, and a response that needs no target:
     curl -s -H 'Host: any.demo.localhost' '{url}/api/whoami'
     curl -i '{url}/teapot'
"""
_HTTPS = """\
6. Use HTTP/2: without TLS, and over TLS. The demo has made the certificate itself, so a browser warns before it opens the page:
     curl -s --http2-prior-knowledge -w 'HTTP/%{{http_version}}\\n' '{url}/api/name'
     curl -sk -w 'HTTP/%{{http_version}}\\n' '{https}/api/name'
"""
_NO_HTTPS = """\
6. Use HTTP/2 without TLS. For HTTPS, install the packages of albkit[tls], for example with: pip install '.[tls]'
     curl -s --http2-prior-knowledge -w 'HTTP/%{{http_version}}\\n' '{url}/api/name'
"""


def welcome(demo: Demo) -> list[str]:
    """The addresses, the rules and seven things to try, line by line."""
    url, https = demo.url, demo.https_url
    addresses = [
        ("gateway", url),
        *([("", https)] if https else []),
        ("admin", f"{demo.admin_url}/"),
        *((target.name, f"http://{target.address}") for target in demo.targets),
    ]
    names = {address: target.name for target in demo.targets for address in (target.address, target.grpc_address)}
    to_try = (_TO_TRY + (_HTTPS if https else _NO_HTTPS)).format(url=url, https=https, ws=url.replace("http", "ws", 1))
    return [
        *_indented(aligned(addresses)),
        "",
        *_indented(rules_table(demo.listener, names)),
        "",
        "Seven things to try",
        "",
        *to_try.splitlines(),
        f"7. Watch all of this live, drain a target and put it back: open {demo.admin_url}/ in a browser.",
        "",
    ]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
