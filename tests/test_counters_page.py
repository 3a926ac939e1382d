from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from albkit.model.tunnel import TunnelEnd
from tests.support.balancing import balancing, group_of, listener

_DOCS = Path(__file__).parents[1] / "docs"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_counters", _DOCS / "make_counters.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_counters = _generator()


def test_page_of_counters_is_what_the_code_says() -> None:
    """The committed page is the generated one; `python docs/make_counters.py` writes it."""
    assert make_counters.main(["--check"]) == 0


def test_page_that_is_old_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do."""
    monkeypatch.setattr(make_counters, "PAGE", tmp_path / "counters.md")
    assert make_counters.main(["--check"]) == 1
    assert "docs/make_counters.py" in capsys.readouterr().err
    assert make_counters.main([]) == 0
    assert make_counters.main(["--check"]) == 0


def test_every_tunnel_end_has_words() -> None:
    """A new cause needs a row of its own."""
    assert set(make_counters._ENDS) == set(TunnelEnd)


async def test_every_metric_that_can_be_read_is_on_the_page() -> None:
    """Those of each dimension, and those in the Prometheus text; and the page names no other."""
    named = set(re.findall(r"^\| `(\w+)` \|", (_DOCS / "counters.md").read_text(encoding="utf-8"), re.MULTILINE))
    async with balancing(listener(group_of("127.0.0.1:9"), name="web")) as it:
        balancer = it.load_balancer
        metrics = balancer.metrics
        read = {*balancer.counters, *balancer.counters_of("group"), *balancer.counters_of("group", "127.0.0.1:9"), *metrics.load_balancer}
        read |= {*metrics.groups["group"], *metrics.targets["group"]["127.0.0.1:9"], *metrics.listeners["web"], *metrics.rules["web"][0]}
        read |= {family.name for family in metrics.families}
    assert read == named
