"""What is known of a setting that is a number or one of a few words."""

from __future__ import annotations

import attrs

__all__ = ("Attribute",)


@attrs.frozen
class Attribute:
    """One setting: its name here and in ALB, the values that it accepts, and what it does."""

    owner: str
    name: str
    key: str
    default: object
    meaning: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above_minimum: bool = False
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The accepted values, as text."""
        if self.choices:
            return ", ".join(repr(choice) for choice in self.choices)
        if self.minimum is None:
            return "True, False" if isinstance(self.default, bool) else ""
        opening = f"above {self.minimum}" if self.above_minimum else f"{self.minimum}"
        if self.maximum is not None:
            return f"{opening} to {self.maximum}"
        return opening if self.above_minimum else f"{opening} or more"
