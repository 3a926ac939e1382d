"""A server with the admin API's page and state but no load balancer: thousands of targets and tunnels that no test could open.

`python -P -m tests.clients.admin_mock --targets 1000 --tunnels 10000` serves it until it is interrupted, to look at.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import random
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

import albkit

PAGE = Path(albkit.__file__).parent / "admin" / "page.html"
CLASSES = ("2xx", "3xx", "4xx", "5xx")
Fields = dict[str, Any]


def policy(page: str) -> str:
    """The Content-Security-Policy that allows the page its one script and its one style, and no other."""

    def allowed(tag: str) -> str:
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"

    return (
        f"default-src 'none'; script-src {allowed('script')}; style-src {allowed('style')}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class MockAdmin:
    """The state of a load balancer that does not exist, and the actions that change it."""

    def __init__(self, *, groups: int = 4, targets: int = 12, tunnels: int = 20, token: str | None = None, seed: int = 1) -> None:
        self.token = token
        self.calls: list[tuple[str, str, Any]] = []
        self.viewers: set[asyncio.Queue[tuple[str, Any]]] = set()
        self.url = ""
        self._chance = random.Random(seed)
        self._last = 0
        now = time.time()
        names = [
            ("web", "api", "chat", "images", "search", "billing", "auth", "reports")[n % 8] + (f"-{n // 8}" if n >= 8 else "")
            for n in range(groups)
        ]
        self.state: Fields = {
            "time": now,
            "load_balancer": {
                "name": "edge",
                "version": albkit.__version__,
                "started_at": now - 93_784,
                "state": "running",
                "latency": self._latency(0.02),
                "counters": dict.fromkeys(
                    (
                        "ProcessedBytes",
                        "HTTPCode_Target_4XX_Count",
                        "HTTPCode_Target_5XX_Count",
                        "HTTPCode_ELB_4XX_Count",
                        "HTTPCode_ELB_5XX_Count",
                        "RejectedConnectionCount",
                    ),
                    0,
                )
                | {"ActiveTunnelCount": tunnels, "TunnelCount": tunnels, "ActiveConnectionCount": 180 + tunnels},
            },
            "listeners": {},
            "rules": {},
            "groups": {},
            "targets": {},
            "tunnels": {},
            "certificates": {},
            "failures": [],
            "events": [],
        }
        for name, protocol, port in (("web", "HTTPS", 443), ("redirect", "HTTP", 80)):
            self.state["listeners"][name] = {
                "id": name,
                "name": name,
                "protocol": protocol,
                "host": "0.0.0.0",
                "port": port,
                "url": f"{protocol.lower()}://edge.example:{port}",
                "requests": 0,
                "processed_bytes": 0,
                "responses": dict.fromkeys(CLASSES, 0),
                "active_connections": 90,
                "rules": len(names),
            }
        for n, name in enumerate(names):
            self.state["groups"][name] = self._group(name)
            self._rule(f"web/{n * 10}", f"forward to {name}", [f"path is /{name}/*", f"host is {name}.example.com"] if n else [])
        self._rule("redirect/0", "redirect HTTP_301 to https://#{host}:443/#{path}?#{query}", [])
        for n in range(targets):
            name = names[n % len(names)]
            self.add_target(name, f"10.0.{n // 250}.{n % 250 + 1}:8000")
        members = list(self.state["targets"].values())
        for n in range(tunnels):
            self.add_tunnel(n + 1, members[n % len(members)], now - self._chance.expovariate(1 / 4000))
        for n, (host, days) in enumerate((("edge.example.com", 61), ("old.example.com", 12))):
            path = f"/etc/certs/{host}.pem"
            self.state["certificates"][path] = {
                "id": path,
                "listener": "web",
                "names": [host, f"www.{host}"],
                "not_after": now + days * 86_400,
                "key_type": ("EC secp256r1", "RSA 2048")[n],
            }
        self._count()

    def _latency(self, middle: float) -> Fields:
        middle *= self._chance.uniform(0.85, 1.2)
        return {"count": 100, "p50": middle, "p90": middle * 2.2, "p99": middle * self._chance.uniform(4, 7)}

    def _group(self, name: str) -> Fields:
        return {
            "id": name,
            "protocol": "HTTP",
            "protocol_version": "HTTP1",
            "algorithm": "round_robin" if name == "web" else "least_outstanding_requests",
            "stickiness": "LbCookie for 1 h" if name == "chat" else None,
            "health_check": "GET /health every 5 s",
            "deregistration_delay": 300,
            "requests": 0,
            "processed_bytes": 0,
            "responses": dict.fromkeys(CLASSES, 0),
            "outstanding": 0,
            "tunnels": 0,
            "retries": 0,
            "connection_errors": 0,
            "healthy": 0,
            "unhealthy": 0,
            "targets": 0,
            "fails_open": False,
            "last_active_at": None,
            "latency": self._latency(0.02),
        }

    def _rule(self, key: str, action: str, conditions: list[str]) -> None:
        listener, priority = key.split("/")
        self.state["rules"][key] = {
            "id": key,
            "listener": listener,
            "priority": int(priority),
            "conditions": conditions,
            "action": action,
            "hits": 0,
        }

    def add_target(self, group: str, address: str, weight: int = 1, *, standby: bool = False, state: str = "healthy") -> Fields:
        """Register a target."""
        target = {
            "id": f"{group}/{address}",
            "group": group,
            "address": address,
            "weight": weight,
            "standby": standby,
            "max_concurrency": None,
            "state": state,
            "reason": None,
            "description": "",
            "ejected_until": None,
            "eject_reason": None,
            "outstanding": 0,
            "tunnels": 0,
            "requests": 0,
            "errors": 0,
            "processed_bytes": 0,
            "responses": dict.fromkeys(CLASSES, 0),
            "connection_errors": 0,
            "retries": 0,
            "last_active_at": None,
            "last_check": {"at": time.time(), "passed": True, "seconds": 0.003, "status": 200, "reason": None},
            "draining_until": None,
            "latency": self._latency(0.02),
        }
        self.state["targets"][target["id"]] = target
        return target

    def add_tunnel(self, number: int, target: Fields, opened_at: float) -> Fields:
        """Open a tunnel."""
        client = f"192.0.2.{number % 250}:{20_000 + number % 40_000}"
        tunnel = {
            "id": str(number),
            "client": client,
            "group": target["group"],
            "target": target["address"],
            "protocol": "websocket",
            "opened_at": opened_at,
            "last_active_at": time.time() - self._chance.expovariate(1 / 20),
            "bytes_in": self._chance.randrange(10_000),
            "bytes_out": self._chance.randrange(900_000),
        }
        self.state["tunnels"][tunnel["id"]] = tunnel
        target["tunnels"] += 1
        return tunnel

    def fail(self, key: str, reason: str = "Target.Timeout", description: str = "Request timed out") -> None:
        """A target becomes unhealthy, and an event says so."""
        target = self.state["targets"][key]
        target.update(state="unhealthy", reason=reason, description=description)
        target["last_check"] = {"at": time.time(), "passed": False, "seconds": 5.0, "status": None, "reason": description}
        self.event("TargetStateChanged", f"{target['group']}: {target['address']} is unhealthy: {description}", target)

    def event(self, kind: str, text: str, target: Fields) -> None:
        """Something has happened to a target."""
        self._last += 1
        known = {"id": self._last, "at": time.time(), "kind": kind, "text": text, "group": target["group"], "target": target["address"]}
        self.state["events"].insert(0, known)

    def failure(self, target: Fields, status: int = 502) -> None:
        """An exchange has failed."""
        self._last += 1
        failed = {
            "id": self._last,
            "at": time.time(),
            "reason": "TargetConnectionRefused",
            "sentence": "The target refused the connection.",
            "phase": "connect",
            "side": "target",
            "status": status,
            "client": "192.0.2.7:51234",
            "group": target["group"],
            "target": target["address"],
            "rule": "web/10",
            "request": f"GET https://edge.example.com/{target['group']}/<b>1</b>",
            "detail": "",
        }
        self.state["failures"].insert(0, failed)

    def _count(self) -> None:
        members: dict[str, list[Fields]] = {name: [] for name in self.state["groups"]}
        for target in self.state["targets"].values():
            if target["state"] != "drained":
                members[target["group"]].append(target)
        for name, group in self.state["groups"].items():
            of = members[name]
            healthy = sum(target["state"] == "healthy" for target in of)
            unhealthy = sum(target["state"] == "unhealthy" for target in of)
            group.update(healthy=healthy, unhealthy=unhealthy, targets=len(of), fails_open=bool(of) and unhealthy == len(of))
            group["tunnels"] = sum(target["tunnels"] for target in of)

    def traffic(self, per_target: float) -> None:
        """A second of requests to each healthy target."""
        now = time.time()
        whole = dict.fromkeys(CLASSES, 0)
        for target in self.state["targets"].values():
            if target["state"] != "healthy" and not (target["state"] == "unhealthy" and self._chance.random() < 0.2):
                continue
            n = max(0, round(self._chance.gauss(per_target, per_target / 4))) * target["weight"]
            bad = sum(self._chance.random() < (0.003 if target["state"] == "healthy" else 0.9) for _ in range(n))
            lost = sum(self._chance.random() < 0.02 for _ in range(n - bad))
            group = self.state["groups"][target["group"]]
            for it in (target, group):
                it["requests"] += n
                it["processed_bytes"] += n * 5_000
                it["last_active_at"] = now
                for name, more in zip(CLASSES, (n - bad - lost, 0, lost, bad), strict=True):
                    it["responses"][name] += more
            target["errors"] += bad
            target["latency"] = self._latency(0.02)
            target["outstanding"] = self._chance.randrange(4)
            for name, more in zip(CLASSES, (n - bad - lost, 0, lost, bad), strict=True):
                whole[name] += more
        web_listener, redirect = self.state["listeners"].values()
        for name, more in whole.items():
            web_listener["responses"][name] += more
        web_listener["requests"] += sum(whole.values())
        web_listener["processed_bytes"] += sum(whole.values()) * 5_000
        redirects = self._chance.randrange(9)
        redirect["responses"]["3xx"] += redirects
        redirect["requests"] += redirects
        counters = self.state["load_balancer"]["counters"]
        counters["HTTPCode_Target_5XX_Count"] += whole["5xx"]
        counters["HTTPCode_Target_4XX_Count"] += whole["4xx"]
        counters["ProcessedBytes"] += sum(whole.values()) * 5_000
        counters["ActiveTunnelCount"] = len(self.state["tunnels"])
        for group in self.state["groups"].values():
            group["latency"] = self._latency(0.02)
            group["outstanding"] = self._chance.randrange(20)
        for rule in self.state["rules"].values():
            name = rule["action"].removeprefix("forward to ")
            rule["hits"] = self.state["groups"][name]["requests"] if name in self.state["groups"] else redirect["requests"]
        self.state["load_balancer"]["latency"] = self._latency(0.02)
        for tunnel in self.state["tunnels"].values():
            if self._chance.random() < 0.2:
                tunnel["last_active_at"] = now
                tunnel["bytes_in"] += self._chance.randrange(500)
                tunnel["bytes_out"] += self._chance.randrange(9_000)

    async def live(self, per_target: float = 6.0, seconds: float = 1.0) -> None:
        """Traffic and deltas until it is cancelled."""
        while True:
            before = json.loads(json.dumps(self.state))
            await asyncio.sleep(seconds)
            self.traffic(per_target)
            self.publish(before)

    def publish(self, before: Fields) -> None:
        """Send what differs from a former state to every viewer."""
        self._count()
        self.state["time"] = time.time()
        delta: Fields = {"time": self.state["time"], "set": {}, "gone": {}}
        for section in ("listeners", "rules", "groups", "targets", "tunnels", "certificates"):
            was, now = before[section], self.state[section]
            changed = {key: _changed(was.get(key, {}), item) for key, item in now.items()}
            delta["set"][section] = {key: fields for key, fields in changed.items() if fields}
            delta["gone"][section] = [key for key in was if key not in now]
        delta["set"]["load_balancer"] = _changed(before["load_balancer"], self.state["load_balancer"])
        for section in ("failures", "events"):
            known = {item["id"] for item in before[section]}
            delta[section] = [item for item in self.state[section] if item["id"] not in known]
        self.send("delta", delta)

    def send(self, kind: str, body: Any) -> None:
        """Send an event to every viewer."""
        for viewer in self.viewers:
            viewer.put_nowait((kind, body))


def _changed(was: Fields, now: Fields) -> Fields:
    """The fields that differ; of fields that are objects, what differs in them."""
    found: Fields = {}
    for key, value in now.items():
        old = was.get(key)
        if value != old:
            both = isinstance(value, dict) and isinstance(old, dict)
            found[key] = {name: one for name, one in value.items() if name not in old or old[name] != one} if both else value
    return found


class _Api:
    def __init__(self, mock: MockAdmin) -> None:
        self._mock = mock
        self._state = mock.state

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        at = "/api/groups/{group}/targets"
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/api/stream", self._stream),
                web.post(at, self._register),
                web.patch(at + "/{address}", self._patch),
                web.post(at + "/{address}/drain", self._drain),
                web.post(at + "/{address}/put-back", self._put_back),
                web.delete(at + "/{address}", self._delete),
                web.delete("/api/tunnels/{id}", self._close),
                web.post("/api/tunnels/close", self._close_many),
                web.post("/api/logs/reopen", self._reopen),
                web.post("/api/explain", self._explain),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path.startswith("/api"):
            if self._mock.token is not None and request.headers.get("Authorization") != f"Bearer {self._mock.token}":
                return web.json_response({"error": "a token is needed"}, status=401)
            if request.method != "GET":
                body = await request.json()
                self._mock.calls.append((request.method, request.rel_url.raw_path, body))
                before = json.loads(json.dumps(self._state))
                answer: web.StreamResponse = await handler(request)
                self._mock.publish(before)
                return answer
        return await handler(request)  # type: ignore[no-any-return]

    async def _page(self, _: web.Request) -> web.Response:
        page = PAGE.read_text(encoding="utf-8")
        return web.Response(
            text=page, content_type="text/html", headers={"Content-Security-Policy": policy(page), "X-Content-Type-Options": "nosniff"}
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        news: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._mock.viewers.add(news)
        try:
            event: tuple[str, Any] = ("state", self._state)
            while event[0] != "bye":
                await stream.write(f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n".encode())
                event = await news.get()
            await stream.write(b"event: bye\ndata: {}\n\n")
        except ConnectionResetError:
            pass
        finally:
            self._mock.viewers.discard(news)
        return stream

    def _target(self, request: web.Request) -> Fields:
        target = self._state["targets"].get(f"{request.match_info['group']}/{request.match_info['address']}")
        if target is None:
            raise web.HTTPNotFound(text=json.dumps({"error": "there is no such target"}), content_type="application/json")
        return target  # type: ignore[no-any-return]

    async def _register(self, request: web.Request) -> web.Response:
        (wanted,) = (await request.json())["targets"]
        faults = []
        if ":" not in wanted["target"]:
            faults.append({"path": "targets[0].target", "message": "must be host:port or unix:/path"})
        if not 0 <= wanted["weight"] <= 999:
            faults.append({"path": "targets[0].weight", "message": "must be from 0 to 999"})
        if faults:
            return web.json_response({"error": "2 faults" if len(faults) > 1 else "1 fault", "faults": faults}, status=422)
        target = self._mock.add_target(
            request.match_info["group"], wanted["target"], wanted["weight"], standby=wanted["standby"], state="initial"
        )
        return web.json_response({"target": target})

    async def _patch(self, request: web.Request) -> web.Response:
        target = self._target(request)
        target.update(await request.json())
        return web.json_response({"target": target})

    async def _drain(self, request: web.Request) -> web.Response:
        target = self._target(request)
        target.update(state="draining", reason="Target.DeregistrationInProgress", draining_until=time.time() + 300)
        self._mock.event("TargetStateChanged", f"{target['group']}: {target['address']} is draining", target)
        return web.json_response({"target": target})

    async def _put_back(self, request: web.Request) -> web.Response:
        target = self._target(request)
        target.update(state="healthy", reason=None, draining_until=None)
        return web.json_response({"target": target})

    async def _delete(self, request: web.Request) -> web.Response:
        del self._state["targets"][self._target(request)["id"]]
        return web.Response(status=204)

    async def _close(self, request: web.Request) -> web.Response:
        if self._state["tunnels"].pop(request.match_info["id"], None) is None:
            return web.json_response({"error": "there is no such tunnel"}, status=404)
        return web.Response(status=204)

    async def _close_many(self, request: web.Request) -> web.Response:
        body = await request.json()
        tunnels = self._state["tunnels"]
        gone = [
            key
            for key, it in tunnels.items()
            if body.get("all") or (it["group"] == body["group"] and it["target"] == body.get("target", it["target"]))
        ]
        for key in gone:
            del tunnels[key]
        return web.json_response({"closed": len(gone)})

    async def _reopen(self, _: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _explain(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "://" not in body["url"]:
            return web.json_response(
                {"error": "1 fault", "faults": [{"path": "url", "message": "must have a scheme and a host"}]}, status=422
            )
        why = [
            "rule 10 does not match: path is /api/*",
            "default action",
            "forward to group web, target 10.0.0.1:8000: chosen by round_robin; it is healthy",
        ]
        return web.json_response({"rule": None, "group": "web", "target": "10.0.0.1:8000", "why": why})


@contextlib.asynccontextmanager
async def serving(mock: MockAdmin, port: int = 0) -> AsyncIterator[MockAdmin]:
    """The server on loopback, while the block runs."""
    runner = web.AppRunner(_Api(mock).app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        mock.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield mock
    finally:
        mock.send("bye", {})
        await runner.cleanup()


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("groups", 4), ("targets", 12), ("tunnels", 20), ("port", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--token")
    parser.add_argument("--fail", type=int, default=0, help="how many targets fail")
    given = parser.parse_args()
    mock = MockAdmin(groups=given.groups, targets=given.targets, tunnels=given.tunnels, token=given.token)
    for key in list(mock.state["targets"])[: given.fail]:
        mock.fail(key)
        mock.failure(mock.state["targets"][key])
    async with serving(mock, given.port):
        sys.stdout.write(f"{mock.url}\n")
        sys.stdout.flush()
        await mock.live()


if __name__ == "__main__":
    asyncio.run(_main())
