"""The interfaces for code of your own: their signatures, when each is called, and what happens if it fails."""

from albkit.model.extensions import (
    Action,
    Admin,
    Algorithm,
    AlgorithmTarget,
    BodyTooLarge,
    Condition,
    EventSubscriber,
    HealthProbe,
    ListeningAlgorithm,
    Recheck,
    Request,
    RequestAlgorithm,
    Response,
    StickyKey,
    Tunnel,
    TunnelCallback,
)

__all__ = (
    "Action",
    "Admin",
    "Algorithm",
    "AlgorithmTarget",
    "BodyTooLarge",
    "Condition",
    "EventSubscriber",
    "HealthProbe",
    "ListeningAlgorithm",
    "Recheck",
    "Request",
    "RequestAlgorithm",
    "Response",
    "StickyKey",
    "Tunnel",
    "TunnelCallback",
)
