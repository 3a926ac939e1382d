from __future__ import annotations

import importlib
import pkgutil
import types

import pytest

import albkit

_ROOMS = {"events", "extensions"}
"""Modules that are public as a whole."""

_CONTRACT = {
    "AppCookie",
    "BodyTooLarge",
    "ConfigurationError",
    "FixedResponse",
    "Forward",
    "HealthCheck",
    "HostHeader",
    "HostHeaderRewrite",
    "HttpHeader",
    "HttpRequestMethod",
    "LbCookie",
    "Limits",
    "Listener",
    "LoadBalancer",
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
    "Tunnel",
    "TunnelEnd",
    "TunnelPolicy",
    "UrlRewrite",
    "events",
    "extensions",
    "run",
}
"""Names that programs rely on: none of them goes."""

_MODULES = sorted(module.name for module in pkgutil.walk_packages(albkit.__path__, "albkit.") if module.name != "albkit.__main__")


def test_public_names_are_those_defined() -> None:
    """`__all__` lists every name that the package defines for its users, and nothing else."""
    defined = {
        name for name, value in vars(albkit).items() if not name.startswith("_") and not isinstance(value, types.ModuleType)
    } | _ROOMS
    assert set(albkit.__all__) == defined
    assert len(albkit.__all__) == len(set(albkit.__all__))


def test_public_names_hold_the_contract() -> None:
    """No name that programs outside call has gone."""
    assert set(albkit.__all__) >= _CONTRACT


@pytest.mark.parametrize("name", sorted(albkit.__all__))
def test_public_name_has_a_docstring(name: str) -> None:
    """Every public class and function explains itself, and does not merely show its generated signature."""
    doc = getattr(albkit, name).__doc__
    assert doc
    assert not doc.startswith(f"{name}(")


@pytest.mark.parametrize("name", sorted(albkit.__all__))
def test_public_method_has_a_docstring(name: str) -> None:
    """Every public method and property of a public class explains itself."""
    kind = getattr(albkit, name)
    if isinstance(kind, type):
        members = {
            key: value
            for key, value in vars(kind).items()
            if not key.startswith("_") and isinstance(value, types.FunctionType | property | classmethod | staticmethod)
        }
        assert not [key for key, value in members.items() if not value.__doc__]


@pytest.mark.parametrize("module", _MODULES)
def test_module_exports_what_it_says(module: str) -> None:
    """Every name of a module's `__all__` exists, each class and function of it has a docstring, and so has the module."""
    room = importlib.import_module(module)
    assert room.__doc__
    for name in getattr(room, "__all__", ()):
        value = getattr(room, name)
        if isinstance(value, type | types.FunctionType):
            assert value.__doc__, name


def test_version_is_a_release_number() -> None:
    """The version is three numbers."""
    assert all(part.isdigit() for part in albkit.__version__.split("."))
    assert albkit.__version__.count(".") == 2
