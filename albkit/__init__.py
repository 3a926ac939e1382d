"""albkit: an Application Load Balancer that you import."""

from albkit.errors import ConfigurationError
from albkit.load_balancer import LoadBalancer
from albkit.model.actions import FixedResponse, Forward
from albkit.model.conditions import HostHeader, PathPattern
from albkit.model.limits import Limits
from albkit.model.listener import Listener
from albkit.model.rule import Rule
from albkit.model.stickiness import LbCookie
from albkit.model.target import Target
from albkit.model.target_group import TargetGroup
from albkit.runner import run

__all__ = (
    "ConfigurationError",
    "FixedResponse",
    "Forward",
    "HostHeader",
    "LbCookie",
    "Limits",
    "Listener",
    "LoadBalancer",
    "PathPattern",
    "Rule",
    "Target",
    "TargetGroup",
    "run",
)

__version__ = "0.1.0"
