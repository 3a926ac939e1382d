"""Programs that benchmarks start: simple proxies, as one writes them in an afternoon, and the target of tunnels."""

from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).resolve().parent
