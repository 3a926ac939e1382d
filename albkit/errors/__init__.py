"""Every error, defined once.

There are two families. A `ConfigurationError` is raised to a caller whose configuration cannot work. A `Failure` ends one exchange: its
kind says who caused it, in which phase it occurred, which status the client gets and whether the request may be sent again. No code has to
derive these from the text of an exception.
"""

from __future__ import annotations

from albkit.errors.configuration import ConfigurationError
from albkit.errors.failure import Failure
from albkit.errors.failure_kinds import FailureKind, Phase, Retry, Side
from albkit.errors.naming import escaped, name_of, told

__all__ = ("ConfigurationError", "Failure", "FailureKind", "Phase", "Retry", "Side", "escaped", "name_of", "told")
