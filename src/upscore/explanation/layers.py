"""Every upsampling layer of a model: where its pixels go, how evenly, at what cost."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Layer:
    """One use of an upsampling layer.

    Attributes:
        name: the module's path in the model.
        function: what it calls.
        kernel: one number for each axis.
        stride: one number for each axis; of a resizing, the ratio of the sizes.
        size_in: pixels of the layer's input along each axis.
        size_out: pixels of its output.
        shift: for each axis and in pixels of the layer's input, how far the content lies too far
            towards the end, compared with half-pixel resizing; NaN where that differs from pixel to
            pixel.
        checkerboard: `upscore.filters.checkerboard` of the layer's own weights, 0 for an even
            cover; NaN where it depends on another layer.
        multiplications: for the whole batch.
        bytes: read and written once, for the whole batch.
        advice: what to change, in words.
    """

    name: str
    function: str
    kernel: tuple[int, ...]
    stride: tuple[float, ...]
    size_in: tuple[int, ...]
    size_out: tuple[int, ...]
    shift: tuple[float, ...]
    checkerboard: float
    multiplications: int
    bytes: int
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """The upsampling layers of a model for one input shape, in the order in which they ran.

    `rich.print` shows it as a table.

    Attributes:
        model: the model's name.
        input_shape: the shape of the zeros that the model was run on.
        layers: one `Layer` for each use of an upsampling layer.
    """

    model: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    def __rich__(self) -> "Group":
        from rich import box
        from rich.console import Group
        from rich.table import Table

        table = Table(
            title=self._title(), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1)
        )
        for heading in HEADINGS[:-1]:
            left = heading == "Layer"
            table.add_column(heading, justify="left" if left else "right", no_wrap=not left)
        advice = []
        for layer in self.layers:
            *cells, change = _cells(layer)
            table.add_row(*cells)
            if change:
                advice.append(f"{layer.name}: {change}")
        if not self.layers:
            return Group(f"{self._title()}: none.")
        changes = ["What to change", *(f"  {line}" for line in advice)] if advice else []
        return Group(table, LEGEND, *changes)

    def html(self) -> str:
        """Return the section about this model that `upscore explain MODEL` adds to its page.

        Returns:
            HTML.
        """
        headings = (heading.replace("-\n", "") for heading in HEADINGS)
        head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
        rows = []
        for layer in self.layers:
            name, *rest = map(_html_lines, _cells(layer))
            cells = "".join(f"<td>{cell or 'nothing'}</td>" for cell in rest)
            rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
        table = (
            '<div class="stage" role="group" aria-label="The upsampling layers">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
            if rows
            else "<p>There are none.</p>"
        )
        return (
            '<section id="model" aria-labelledby="model-title">\n'
            '<h2 id="model-title" tabindex="-1"><span>11</span> Your model</h2>\n'
            f"<p>{html.escape(self._title())}. {LEGEND}</p>\n{table}\n</section>"
        )

    def _title(self) -> str:
        shape = " × ".join(map(str, self.input_shape))
        return f"Upsampling layers of {self.model} for an input of {shape}"


HEADINGS = (
    "Layer",
    "Kernel",
    "Stride",
    "Size",
    "Shift",
    "Checker-\nboard",
    "Cost",
    "What to change",
)
LEGEND = (
    "Shift is in pixels of the layer's input, towards the end if positive. Checkerboard says how "
    "unevenly the outputs are covered, 0 for evenly. Cost is multiplications, and bytes read or "
    "written."
)


def _cells(layer: Layer) -> list[str]:
    """Return one row of the table, in the order of HEADINGS."""
    return [
        f"{layer.name}\n{layer.function}",
        _short(layer.kernel),
        _short(layer.stride),
        f"{_sizes(layer.size_in)} → {_sizes(layer.size_out)}",
        _short(layer.shift),
        _short((layer.checkerboard,)),
        f"{_scaled(layer.multiplications)}\n{_scaled(layer.bytes)}B",
        "; ".join(layer.advice),
    ]


def _html_lines(cell: str) -> str:
    """Return a cell as HTML, a second line in small print."""
    first, *more = html.escape(cell).split("\n")
    return first + "".join(f"<small>{line}</small>" for line in more)


def _sizes(values: Sequence[int]) -> str:
    """Return a size, height first."""
    return "×".join(map(str, values))


def _short(values: Sequence[float]) -> str:
    """Return one short number if it is the same on all axes, else all; a dash for none."""
    texts = ["–" if isnan(value) else f"{value:.3g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else "×".join(texts) or "–"


def _scaled(value: float) -> str:
    """Return a count with a decimal prefix: 12.3 M."""
    for prefix in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:.3g} {prefix}"
        value /= 1000
    return f"{value:.3g} T"
