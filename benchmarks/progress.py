"""Shows the progress of a run: a bar in a terminal, otherwise one line per round."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.bench import Quiet
from benchmarks.figures import Row

__all__ = ("Bar",)


class Bar(Quiet):
    """One bar per scenario, with what is being measured."""

    def __init__(self, console: Console) -> None:
        self._console = console
        figures = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        columns = (TextColumn("{task.description:18}"), *figures, TextColumn("{task.fields[now]}"))
        self._progress = Progress(*columns, console=console, refresh_per_second=2, disable=not console.is_terminal)
        self._scenario = ""
        self._task = self._progress.add_task("", total=None, now="", visible=False)
        self._steps = 0

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def scenario(self, name: str, number: int, of: int) -> None:
        """Start the bar of the next scenario."""
        self._progress.update(self._task, now="")
        self._scenario = name
        self._steps = 0
        self._task = self._progress.add_task(name, total=None, now="")
        if not self._console.is_terminal:
            self._console.print(f"{name} ({number} of {of})", highlight=False)

    def begin(self, steps: int) -> None:
        # A scenario may have several groups of cases.
        self._steps += steps
        self._progress.update(self._task, total=self._steps)

    def starting(self, name: str) -> None:
        self._progress.update(self._task, now=f"starts {name}")

    def sampled(self, name: str, rows: Sequence[Row]) -> None:
        row = rows[0]
        taken = row.samples.get(name)
        told = f"{taken[-1].cost:.1f} {row.unit}" if taken else "FAILED"
        self._progress.update(self._task, advance=1, now=f"{name}, {row.title}: {told}")

    def round_over(self, number: int, of: int, rows: Sequence[Row]) -> None:
        if not self._console.is_terminal:
            self._console.print(
                f"  round {number} of {of}: {'; '.join(dict.fromkeys(row.work for row in rows))}", highlight=False, soft_wrap=True
            )
