"""Charts as inline SVG, drawn on the server: bars over time and bars by name.

Colours come from the page's style sheet by class, so dark mode needs nothing here. Each chart has a title for screen
readers, and every page that shows one also has its numbers in a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 900, 220, 48, 26, 10
WIDEST = 56  # of a column, where there are few


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, and its parts from the bottom up as (class, value)."""

    label: str
    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        return sum(value for _, value in self.parts)


def columns(title: str, bars: Sequence[Bar], every: int = 1) -> Markup:
    """Stacked columns from left to right; every `every`-th has its label, counted from the right, where the newest stands."""
    top = _round_up(max((bar.total for bar in bars), default=0.0))
    plot = HEIGHT - BOTTOM - TOP
    step = (WIDTH - LEFT) / max(len(bars), 1)
    drawn = []
    for share in (0.0, 0.5, 1.0):
        y = TOP + plot * (1 - share)
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(top * share)}</text>')
    for index, bar in enumerate(bars):
        x, y = LEFT + index * step, float(TOP + plot)
        for name, value in bar.parts:
            height = plot * value / top if top else 0.0
            y -= height
            if height > 0:
                width = min(step * 0.76, WIDEST)
                place = f'x="{x + (step - width) / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
                drawn.append(f'<rect class="{escape(name)}" {place} rx="1.5"/>')
        if (len(bars) - 1 - index) % every == 0:
            drawn.append(f'<text class="tick" x="{x + step / 2:.1f}" y="{HEIGHT - 7}" text-anchor="middle">{escape(bar.label)}</text>')
    return _svg(title, WIDTH, HEIGHT, drawn)


def rows(title: str, bars: Sequence[Bar]) -> Markup:
    """Horizontal bars, one under the other, each with its name and number."""
    top, line, left = max((bar.total for bar in bars), default=0.0) or 1.0, 26, 170
    drawn = []
    for index, bar in enumerate(bars):
        y, x = index * line, float(left)
        drawn.append(f'<text class="name" x="{left - 8}" y="{y + 17}" text-anchor="end">{escape(bar.label)}</text>')
        for name, value in bar.parts:
            width = (WIDTH - left - 60) * value / top
            drawn.append(f'<rect class="{escape(name)}" x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="{line - 9}" rx="2"/>')
            x += width
        drawn.append(f'<text class="tick" x="{x + 6:.1f}" y="{y + 17}">{_number(bar.total)}</text>')
    return _svg(title, WIDTH, max(len(bars), 1) * line, drawn)


def _svg(title: str, width: int, height: int, drawn: Sequence[str]) -> Markup:
    inside = "".join(drawn)
    # every label is escaped above; what remains is our own markup
    return Markup(f'<svg class="chart" role="img" viewBox="0 0 {width} {height}" aria-label="{escape(title)}">{inside}</svg>')  # noqa: S704


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(f"{value:.0f}") - 1) if value >= 1 else 0.1
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2f}"
