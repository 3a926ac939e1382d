"""What the handlers of an admin API have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from albkit.admin.drained import DrainedTargets
from albkit.admin.history import History
from albkit.admin.page import Page
from albkit.admin.state import State
from albkit.admin.viewers import Viewers

if TYPE_CHECKING:
    from albkit.load_balancer import LoadBalancer

__all__ = ("Context",)


class Context:
    """The load balancer, and what the admin API remembers of it.

    Args:
        load_balancer: The load balancer.
        page: The live page.
    """

    def __init__(self, load_balancer: LoadBalancer, page: Page) -> None:
        self.load_balancer = load_balancer
        self.page = page
        self.history = History(load_balancer)
        self.drained = DrainedTargets(load_balancer)
        self.state = State(load_balancer, self.history, self.drained)
        self.viewers = Viewers(self.state)

    def close(self) -> None:
        """End what was subscribed, and drop the state."""
        self.history.close()
        self.drained.close()
        self.state.close()
