"""Makes `docs/reference.md` from the classes and from the table of settings, so that the page cannot tell anything else than the code.

python docs/make_reference.py            write the page
python docs/make_reference.py --check    tell whether it is up to date; exits with 1 when not
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import attrs

import albkit as alb
from albkit.model.attributes import ATTRIBUTES
from albkit.model.settings import Settings

PAGE = Path(__file__).parent / "reference.md"

_INTRODUCTION = """
# Reference: every setting

Made by `python docs/make_reference.py` from the code; a test compares the two.

All classes are names of the package (`import albkit as alb`, then `alb.Rule`). Configuration objects are immutable and hashable. Each
checks itself when it is built and raises `ConfigurationError`, a `ValueError` whose `faults` lists everything that is wrong, each fault
with its path. Where several targets, conditions, actions or rules fit, one item or a list is taken.

Durations are seconds and sizes bytes. *ALB's key* is the name of the same setting in AWS's API: a field of a shape, or the key of a load
balancer, listener or target group attribute; a dash means that ALB has none. Defaults are ALB's where it has one. Ranges are ALB's where
they protect the user, and wider where ALB's bound only protects AWS, so that a test may run in milliseconds.
"""


class Part(NamedTuple):
    """A setting that is neither a number nor one of a few words: those stand in the table of settings."""

    key: str
    range: str


class Section(NamedTuple):
    """One class on the page."""

    kind: type
    """Whose docstring explains it."""
    alb: str
    """What it is in ALB."""
    parts: dict[str, Part]
    fields: type | None = None
    """The attrs class that holds its settings, where that is another one."""


_NAME = "1 to 32 letters, digits and hyphens"
_REGEX = "at most 128 characters each, RE2's dialect"
_REWRITE = {
    "regex": Part("Rewrites[0].Regex", "1 to 1024 characters, RE2's dialect"),
    "replace": Part("Rewrites[0].Replace", "0 to 1024 visible characters"),
}

_QUERY_PARAMETER = Part("", "1 to 256 letters, digits and `-._~`, or `None`")
_DESTINATION = {"destination": Part("", "the path of a file, or a callable")}
_SECRETS = Part("", "one text or `bytes` of 16 bytes or more, or a list")

SECTIONS = (
    Section(
        alb.LoadBalancer,
        "a load balancer of type `application`, and its attributes",
        {
            "listeners": Part("", "one `Listener` or a list"),
            "name": Part("Name", _NAME),
            "access_log": Part("access_logs.s3.enabled", "`AccessLog(...)` or `None`"),
            "connection_log": Part("connection_logs.s3.enabled", "`ConnectionLog(...)` or `None`"),
            "health_check_log": Part("health_check_logs.s3.enabled", "`HealthCheckLog(...)` or `None`"),
            "limits": Part("", "`Limits(...)`"),
            "tracing": Part("", "`albkit.opentelemetry.Tracing(...)` or `None`"),
        },
        Settings,
    ),
    Section(alb.Limits, "quotas that cannot be changed, or nothing", {}),
    Section(
        alb.Listener,
        "a listener, and its attributes",
        {
            "default_actions": Part("DefaultActions", "one action or a list, the routing action last"),
            "rules": Part("", "one `Rule` or a list"),
            "name": Part("", f"{_NAME}, or `None`"),
            "host": Part("", 'a local address, `"unix:/path"` (1 to 107 bytes of path), or `None`'),
            "certificates": Part("Certificates", "one `Certificate(...)` or a list, the default first"),
            "mutual_authentication": Part("MutualAuthentication", "`MutualAuthentication(...)` or `None`"),
            "trusted_networks": Part("", "one network or a list"),
            "request_header_names": Part(
                "routing.http.request.*.header_name", "a mapping of the names of `X-Amzn-Tls-*` and `X-Amzn-Mtls-*` fields to others"
            ),
            "socket_mode": Part("", "0 to 0o777, or `None`"),
            "inherited_socket": Part("", "a descriptor's number, 0 and more, or its name, or `None`"),
            "response_headers": Part(
                "routing.http.response.*.header_value, routing.http.response.server.enabled",
                "a mapping of names to values of 1 to 1024 characters",
            ),
            "access_log": Part("", "`AccessLog(...)`, `None` or `False`"),
            "connection_log": Part("", "`ConnectionLog(...)`, `None` or `False`"),
        },
    ),
    Section(alb.AccessLog, "the access log in an S3 bucket", _DESTINATION),
    Section(alb.ConnectionLog, "the connection log in an S3 bucket", _DESTINATION),
    Section(alb.HealthCheckLog, "the health check log in an S3 bucket", _DESTINATION),
    Section(
        alb.Certificate,
        "a certificate of ACM's or IAM's",
        {
            "certificate": Part("CertificateArn", "the path of a PEM file, or PEM as `bytes`"),
            "key": Part("", "the same, or `None`"),
            "password": Part("", "text or `bytes`, or `None`"),
        },
    ),
    Section(
        alb.MutualAuthentication,
        "a listener's `MutualAuthentication`, with its trust store and revocations",
        {
            "trust_store": Part("TrustStoreArn", "the path of a PEM file, or PEM as `bytes`; `None` without verifying"),
            "revocations": Part("RevocationContents", "one path or `bytes`, or a list"),
        },
    ),
    Section(
        alb.Rule,
        "a rule",
        {
            "conditions": Part("Conditions", "one condition or a list"),
            "actions": Part("Actions", "one action or a list, the routing action last"),
            "transforms": Part("Transforms", "one transform or a list"),
        },
    ),
    Section(
        alb.HostHeader,
        "a condition with the field `host-header`, by its `HostHeaderConfig`",
        {
            "values": Part("Values", "1 to 128 characters each"),
            "regex": Part("RegexValues", _REGEX),
        },
    ),
    Section(
        alb.PathPattern,
        "a condition with the field `path-pattern`, by its `PathPatternConfig`",
        {
            "values": Part("Values", "1 to 128 characters each"),
            "regex": Part("RegexValues", _REGEX),
        },
    ),
    Section(
        alb.HttpHeader,
        "a condition with the field `http-header`, by its `HttpHeaderConfig`",
        {
            "http_header_name": Part("HttpHeaderName", "1 to 40 characters of a token"),
            "values": Part("Values", "1 to 128 characters each"),
            "regex": Part("RegexValues", _REGEX),
        },
    ),
    Section(
        alb.HttpRequestMethod,
        "a condition with the field `http-request-method`, by its `HttpRequestMethodConfig`",
        {"values": Part("Values", "1 to 40 characters each")},
    ),
    Section(
        alb.QueryString,
        "a condition with the field `query-string`, by its `QueryStringConfig`",
        {"values": Part("Values", "1 to 128 characters each text")},
    ),
    Section(
        alb.SourceIp,
        "a condition with the field `source-ip`, by its `SourceIpConfig`",
        {"values": Part("Values", "1 to 5 networks")},
    ),
    Section(
        alb.Forward,
        "an action of type `forward`, by its `ForwardConfig`",
        {
            "groups": Part("TargetGroups", "1 to 5 groups, weights 0 to 999"),
            "tunnel": Part("", "`TunnelPolicy(...)` or `None`"),
        },
    ),
    Section(
        alb.Redirect,
        "an action of type `redirect`, by its `RedirectConfig`",
        {
            "host": Part("Host", "1 to 128 characters"),
            "port": Part("Port", "1 to 65535 or `#{port}`"),
            "path": Part("Path", "1 to 128 characters from `/`"),
            "query": Part("Query", "0 to 128 characters"),
        },
    ),
    Section(
        alb.FixedResponse,
        "an action of type `fixed-response`, by its `FixedResponseConfig`",
        {"body": Part("MessageBody", "0 to 1024 characters")},
    ),
    Section(alb.UrlRewrite, "a transform of type `url-rewrite`, by its `UrlRewriteConfig`", _REWRITE),
    Section(alb.HostHeaderRewrite, "a transform of type `host-header-rewrite`, by its `HostHeaderRewriteConfig`", _REWRITE),
    Section(
        alb.TargetGroup,
        "a target group, and its attributes",
        {
            "name": Part("Name", _NAME),
            "targets": Part("", "one target or a list, or none"),
            "stickiness": Part(
                "stickiness.enabled, stickiness.type",
                "`LbCookie(...)`, `AppCookie(...)`, `RouteSuffix(...)`, `SourceAddress()`, a callable, or `None`",
            ),
            "verify": Part("", "`True`, `False` or a path"),
            "client_certificate": Part("", "`Certificate(...)` or `None`"),
            "health_check": Part("HealthCheckEnabled", "`HealthCheck(...)` or `None`"),
            "minimum_healthy_targets": Part(
                "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count, "
                "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
                '1 and more, `"1%"` to `"100%"`, or one of each',
            ),
            "tunnel": Part("", "`TunnelPolicy(...)`"),
        },
    ),
    Section(
        alb.Target,
        "a target description",
        {
            "host": Part("Id", "a host name, an IP address or `unix:` and a path"),
            "route": Part("", "1 to 100 visible characters without comma, semicolon, quote or backslash; or `None`"),
            "server_name": Part("", "a host name, or `None`"),
        },
    ),
    Section(
        alb.DnsName,
        "nothing",
        {
            "host": Part("", "a host name"),
            "nameservers": Part("", "one IP address or a list, each with or without a port"),
            "protocol": Part("", "`HTTP`, `HTTPS` or `None`"),
            "weight": Part("", "0 to 999"),
            "max_concurrency": Part("", "1 to 1000000, or `None`"),
        },
    ),
    Section(alb.LbCookie, "stickiness of type `lb_cookie`", {"secrets": _SECRETS}),
    Section(
        alb.AppCookie,
        "stickiness of type `app_cookie`",
        {
            "cookie_name": Part("stickiness.app_cookie.cookie_name", "1 to 256 characters of a token"),
            "query_parameter": _QUERY_PARAMETER,
            "secrets": _SECRETS,
        },
    ),
    Section(
        alb.RouteSuffix,
        "nothing; Apache's `stickysession` and `route`",
        {
            "cookie_name": Part("", "1 to 256 characters of a token"),
            "separator": Part("", "one or more visible characters without a semicolon"),
            "query_parameter": _QUERY_PARAMETER,
        },
    ),
    Section(alb.SourceAddress, "nothing; a network load balancer's stickiness of type `source_ip`", {}),
    Section(alb.ConsistentHash, "nothing", {"key": Part("", "a callable, or `None`")}),
    Section(alb.Ejection, "nothing", {}),
    Section(
        alb.HealthCheck,
        "the health check of a target group",
        {
            "path": Part("HealthCheckPath", "1 to 1024 visible characters from `/`, without `#`"),
            "matcher": Part("Matcher.HttpCode, Matcher.GrpcCode", "statuses and ranges of them, 200 to 499; gRPC codes, 0 to 99"),
            "probe": Part("", "an `async` callable or `None`"),
        },
    ),
    Section(
        alb.TunnelPolicy,
        "nothing; a WebSocket has the load balancer's `idle_timeout` there",
        {
            "recheck": Part("", "an `async` callable or `None`"),
            "protocols": Part("", "one protocol or a list, each `name` or `name/version`, without `h2c`; or `None`"),
        },
    ),
)


def page() -> str:
    """The whole page."""
    contents = "\n".join(f"- [{section.kind.__name__}](#{section.kind.__name__.lower()}): {section.alb}" for section in SECTIONS)
    return "\n\n".join([_INTRODUCTION.strip(), contents, *map(_section, SECTIONS)]) + "\n"


def _section(section: Section) -> str:
    about, meanings = explained(section.kind)
    lines = [f"## {section.kind.__name__}", "", f"In ALB: {section.alb}.", "", about, ""]
    shown = example(section.kind)
    if shown:
        lines += ["```python", shown, "```", ""]
    if not attrs.fields(section.fields or section.kind):
        return "\n".join(lines).rstrip()
    lines += ["| name here | ALB's key | range | default | unit | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    for field in in_order(section.fields or section.kind):
        row = _row(section, field, meanings[field.name])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines)


def in_order(kind: type) -> list[attrs.Attribute[object]]:
    """The settings of a class as its signature has them: those that can be given by position come first."""
    return sorted(attrs.fields(kind), key=lambda field: field.kw_only)


def _row(section: Section, field: attrs.Attribute[object], meaning: str) -> list[str]:
    name = field.name
    unit = ""
    attribute = ATTRIBUTES.get((section.kind.__name__, name))
    if attribute is not None:
        # What the docstring says besides is its range and default, which have columns of their own here.
        key, values, unit, meaning = attribute.key, _code(attribute.range), attribute.unit, attribute.meaning
    else:
        key, values = section.parts[name]
    keys = ", ".join(f"`{one}`" for one in key.split(", ")) if key else "-"
    return [f"`{name}`", keys, values, _default(section, field), unit or "-", meaning]


def _code(values: str) -> str:
    """Words as code; numbers as they are."""
    return re.sub(r"'[^']*'|True|False", lambda word: f"`{word[0]}`", values)


def _default(section: Section, field: attrs.Attribute[object]) -> str:
    value = field.default
    if section.parts.keys() >= {"values", "regex"} and field.name in ("values", "regex"):
        return "either `values` or `regex`"
    if value is attrs.NOTHING:
        return "required"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        return f"`{value.factory.__name__}()`"  # type: ignore[attr-defined]
    return "none" if value == () else f"`{value!r}`"


def explained(kind: type) -> tuple[str, dict[str, str]]:
    """What a class's docstring says of the class, and of each of its arguments."""
    about: list[str] = []
    arguments: list[str] = []
    lines = about
    for line in (inspect.getdoc(kind) or "").splitlines():
        if line in ("Args:", "Example:", "Raises:"):
            lines = arguments if line == "Args:" else []
        elif line and not line.startswith(" "):
            # Text that stands behind a section belongs to the class again.
            lines = about
            lines.append(line)
        else:
            lines.append(line)
    meanings: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", textwrap.dedent("\n".join(arguments)).strip()):
        name, _, meaning = entry.partition(":")
        meanings[name.strip()] = _plain(meaning)
    paragraphs = re.split(r"\n\s*\n", "\n".join(about).strip())
    return "\n\n".join(_plain(paragraph, keep_lines=True) for paragraph in paragraphs if paragraph.strip()), meanings


def example(kind: type) -> str:
    """Return the code below `Example:` in a class's docstring; empty if there is none."""
    found = re.search(r"^Example:\n((?: .*\n?)+)", inspect.getdoc(kind) or "", re.MULTILINE)
    return textwrap.dedent(found[1]).strip() if found else ""


def _plain(text: str, *, keep_lines: bool = False) -> str:
    """Without hints that are for those who read the code."""
    text = re.sub(r"\s*\(docs/alb.md [^)]*\)", "", text)
    return text.strip() if keep_lines else " ".join(text.split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description="Make docs/reference.md from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is not up to date")
    options = parser.parse_args(arguments)
    made = page()
    if not options.check:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    sys.stderr.write(f"{PAGE.name} is not up to date: run python docs/make_reference.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
