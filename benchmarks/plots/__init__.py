"""The results as pictures: everything, and a summary."""

from __future__ import annotations

from benchmarks.plots.page import draw
from benchmarks.plots.summary import draw_summary

__all__ = ("draw", "draw_summary")
