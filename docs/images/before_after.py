"""Draw the usual last step and upscore's, with their costs: `python docs/images/before_after.py`.

The picture has a background of its own, light or dark by the reader's setting.
"""

from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_suffix(".svg")
TITLE = "Scores of 19 x 128 x 256 → labels of 1024 x 2048 pixels"
SOURCE = "The same labels. Two cores of an AMD EPYC (Zen 4); smooth to random scores."
WIDTH, HEIGHT = 880, 268
TIME_LEFT, MEMORY_LEFT, BAR = 520, 710, 146


@dataclass(frozen=True)
class Way:
    """One way to do it: its code, what is written beside it, and how long its bars are."""

    name: str
    code: tuple[str, ...]
    time: str
    memory: str
    milliseconds: float
    megabytes: float


# The row 19x128x256 → 1024x2048 of docs/benchmarks/heads.md. The bars show the upper figures.
BEFORE = Way(
    "Before",
    (
        'scores = F.interpolate(scores, (1024, 2048), mode="bilinear")',
        "labels = scores.argmax(1)",
    ),
    "283 ms",
    "168 MB",
    283,
    168,
)
AFTER = Way(
    "After",
    ("labels = upscore.argmax(scores, (1024, 2048))",),
    "0.89 to 2.2 ms",
    "at most 1.2 MB",
    2.2,
    1.2,
)

STYLE = """
  .paper { fill: #ffffff; stroke: #d0d7de; } .block { fill: #f3f5f8; }
  text { fill: #1f2328; font: 14px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
  .faint { fill: #59636e; font-size: 13px; } .name { font-weight: 600; }
  .code { font: 12.5px ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
  .figure { font-size: 17px; font-weight: 600; }
  .before { fill: #b35900; } .after { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #3d444d; } .block { fill: #1a212b; }
    text { fill: #e6edf3; } .faint { fill: #9198a1; }
    .before { fill: #f0a35e; } .after { fill: #58a6ff; }
  }
"""


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """One line of text."""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x}" y="{y}" class="{kind}" xml:space="preserve">{words}</text>'


def row(way: Way, top: int) -> list[str]:
    """A way's code, and a bar for each of its costs."""
    kind = way.name.lower()
    parts = [text(24, top + 14, way.name, "name")]
    parts.append(f'<rect x="24" y="{top + 22}" width="480" height="48" rx="5" class="block"/>')
    first = top + 51 - 10 * (len(way.code) - 1)
    parts += [text(34, first + 20 * i, line, "code") for i, line in enumerate(way.code)]
    for left, words, share in (
        (TIME_LEFT, way.time, way.milliseconds / BEFORE.milliseconds),
        (MEMORY_LEFT, way.memory, way.megabytes / BEFORE.megabytes),
    ):
        parts.append(text(left, top + 44, words, "figure"))
        width = round(BAR * share, 1)
        parts.append(
            f'<rect x="{left}" y="{top + 54}" width="{width}" height="14" class="{kind}"/>'
        )
    return parts


def picture() -> str:
    """The whole file."""
    spoken = "; ".join(f"{w.name}: {w.time}, {w.memory} of extra memory" for w in (BEFORE, AFTER))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{TITLE}. {spoken}">',
        f"<style>{STYLE}</style>",
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" class="paper"/>',
        text(24, 34, TITLE, "name"),
        text(TIME_LEFT, 34, "time", "faint"),
        text(MEMORY_LEFT, 34, "extra memory", "faint"),
        *row(BEFORE, 54),
        *row(AFTER, 144),
        text(24, 246, SOURCE, "faint"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    FILE.write_text(picture(), encoding="utf-8")
