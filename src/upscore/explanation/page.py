"""The page of `upscore explain`: one HTML file that loads nothing from anywhere."""

import html
import json
import re
import webbrowser
from base64 import b64encode
from os import PathLike
from pathlib import Path

from upscore.explanation.layers import Explanation
from upscore.io.atomic import write_bytes

WEB = Path(__file__).parent / "web"
PHOTO = WEB / "photo"
_IMPORT = re.compile(r"^import .*? from '\./([\w]+)\.js';\n", re.MULTILINE | re.DOTALL)


def write_page(path: str | PathLike[str], explanation: Explanation | None = None) -> Path:
    """Write the page to `path`, whole or not at all, and return the path.

    With an `Explanation` (see `upscore.explain`) the page ends with a chapter on that model.
    """
    path = Path(path)
    write_bytes(path, page(explanation).encode())
    return path


def open_page(path: str | PathLike[str]) -> bool:
    """Show a written page in the user's browser; False if none could be started."""
    return webbrowser.open(Path(path).resolve().as_uri())


def page(explanation: Explanation | None = None) -> str:
    """Return the page's HTML."""
    facts = json.loads((PHOTO / "facts.json").read_text(encoding="utf-8"))
    parts = {
        "style": "\n".join(
            (WEB / name).read_text(encoding="utf-8") for name in ("theme.css", "style.css")
        ),
        "script": script("main"),
        "photo-layers": _photo_layers(list(facts["stages"])),
        "photo-caption": html.escape(facts["caption"]),
        "timing": html.escape(facts["timing"]),
        "facts": f'<script type="application/json" id="photo-facts">{json.dumps(facts)}</script>',
        "eye": _data_url("eye.png"),
        "model-link": '<li><a href="#model">Your model</a></li>' if explanation else "",
        "model": explanation.html() if explanation else "",
    }
    text = (WEB / "index.html").read_text(encoding="utf-8")
    return re.sub(r"<!--([\w-]+)-->", lambda match: parts[match[1]], text)


def script(entry: str) -> str:
    """Return a module and all it imports as one module: each once, after what it needs.

    Works because top-level names differ between the page's modules; a browser refuses the script
    if two ever clash.
    """
    seen: dict[str, str] = {}

    def visit(name: str) -> None:
        if name in seen:
            return
        seen[name] = ""  # keeps its place from being taken twice; filled after its imports
        text = (WEB / f"{name}.js").read_text(encoding="utf-8")
        for needed in _IMPORT.findall(text):
            visit(needed)
        del seen[name]
        seen[name] = _IMPORT.sub("", text).replace("\nexport ", "\n")

    visit(entry)
    return "\n".join(f"// --- {name}.js ---\n{text}" for name, text in seen.items())


def _photo_layers(strides: list[str]) -> str:
    """Return the images that chapter 1 lays over each other."""

    def layers(side: str, names: tuple[str, ...]) -> str:
        images = "".join(
            f'<img data-kind="{name}" data-stride="{stride}" alt="" hidden '
            f'src="{_data_url(f"{name}{stride}.png")}">'
            for stride in strides
            for name in names
        )
        return f'<div class="layers {side}">{images}</div>'

    photo = f'<img src="{_data_url("photo.jpg")}" alt="A cat looking at the camera">'
    return photo + layers("left", ("coarse", "score")) + layers("right", ("labels",))


def _data_url(name: str) -> str:
    """Return a file of the photo's folder as a data: URL."""
    format = "jpeg" if name.endswith(".jpg") else "png"
    return f"data:image/{format};base64,{b64encode((PHOTO / name).read_bytes()).decode()}"
