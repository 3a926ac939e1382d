"""What a program may add of its own: the shapes, when each is called, and what happens when it goes wrong."""

from albkit.model.extensions import (
    Action,
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
