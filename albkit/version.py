"""The version of the package. `setup.cfg` reads it."""

__all__ = ("VERSION",)

VERSION = "0.1.0"
