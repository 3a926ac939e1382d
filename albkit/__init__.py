"""albkit: an Application Load Balancer to import.

Compose `Listener`, `Rule` and `TargetGroup` objects, then call `run(listener)`, or use `async with LoadBalancer(listener)` in an event loop
of your own. `docs/reference.md` lists every setting.
"""

from albkit import events, extensions
from albkit.control.explain import Explanation
from albkit.errors import ConfigurationError
from albkit.load_balancer import LoadBalancer
from albkit.model.access_log import AccessLog
from albkit.model.actions.fixed_response import FixedResponse
from albkit.model.actions.forward import Forward
from albkit.model.actions.redirect import Redirect
from albkit.model.certificate import Certificate
from albkit.model.conditions.host_header import HostHeader
from albkit.model.conditions.http_header import HttpHeader
from albkit.model.conditions.http_request_method import HttpRequestMethod
from albkit.model.conditions.path_pattern import PathPattern
from albkit.model.conditions.query_string import QueryString
from albkit.model.conditions.source_ip import SourceIp
from albkit.model.connection_log import ConnectionLog
from albkit.model.consistent_hash import ConsistentHash
from albkit.model.dns_name import DnsName
from albkit.model.ejection import Ejection
from albkit.model.extensions import BodyTooLarge, Request, Response, Tunnel
from albkit.model.health import (
    AnomalyDetection,
    AnomalyResult,
    HealthCheckResult,
    TargetHealthDescription,
    TargetHealthReason,
    TargetHealthState,
)
from albkit.model.health_check import HealthCheck
from albkit.model.health_check_log import HealthCheckLog
from albkit.model.limits import Limits
from albkit.model.listener import Listener
from albkit.model.mutual_authentication import MutualAuthentication
from albkit.model.rule import Rule
from albkit.model.stickiness.app_cookie import AppCookie
from albkit.model.stickiness.lb_cookie import LbCookie
from albkit.model.stickiness.route_suffix import RouteSuffix
from albkit.model.stickiness.source_address import SourceAddress
from albkit.model.target import Target
from albkit.model.target_group import TargetGroup
from albkit.model.tls import ClientCertificate, TlsSession
from albkit.model.transforms import HostHeaderRewrite, UrlRewrite
from albkit.model.tunnel import TunnelEnd, TunnelPolicy
from albkit.runner import run
from albkit.version import __version__ as __version__

__all__ = (
    "AccessLog",
    "AnomalyDetection",
    "AnomalyResult",
    "AppCookie",
    "BodyTooLarge",
    "Certificate",
    "ClientCertificate",
    "ConfigurationError",
    "ConnectionLog",
    "ConsistentHash",
    "DnsName",
    "Ejection",
    "Explanation",
    "FixedResponse",
    "Forward",
    "HealthCheck",
    "HealthCheckLog",
    "HealthCheckResult",
    "HostHeader",
    "HostHeaderRewrite",
    "HttpHeader",
    "HttpRequestMethod",
    "LbCookie",
    "Limits",
    "Listener",
    "LoadBalancer",
    "MutualAuthentication",
    "PathPattern",
    "QueryString",
    "Redirect",
    "Request",
    "Response",
    "RouteSuffix",
    "Rule",
    "SourceAddress",
    "SourceIp",
    "Target",
    "TargetGroup",
    "TargetHealthDescription",
    "TargetHealthReason",
    "TargetHealthState",
    "TlsSession",
    "Tunnel",
    "TunnelEnd",
    "TunnelPolicy",
    "UrlRewrite",
    "events",
    "extensions",
    "run",
)
