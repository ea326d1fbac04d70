"""The page of `upscore serve` in a real browser, with a real server behind it."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label as regions

import tiny
import upscore
from upscore import models
from upscore.images.bundled import samples
from upscore.rasters.polygons import outlines

pytestmark = pytest.mark.slow

pytest.importorskip("fastapi", reason="needs pip install 'upscore[serve]'")
CAT = samples()["cat"]
TOKEN = "a-token-for-these-tests"
SERVER = """
import json, sys
from pathlib import Path
from upscore.serving.serve import serve
from upscore.serving.settings import Settings
models, options = json.loads(sys.argv[1])
options["corrections"] = Path(options["corrections"])
serve(models, Settings(port=0, **options))
"""

# Functions of the page's own modules, as a test sees them.
STATE = "(await import('/page/state.js')).state"
LABELS = f"""async (model) => {{
  const {{ labelsOf }} = await import('/page/photos.js');
  const state = {STATE};
  return labelsOf(state.photo, model ?? state.model).toBase64();
}}"""
PLACE = """async ([x, y]) => {
  const { toView } = await import('/page/viewport.js');
  const box = document.querySelector('.pane').getBoundingClientRect();
  const [vx, vy] = toView(x, y);
  return [box.left + vx, box.top + vy];
}"""
SEEN = """async ([x, y]) => {
  const { toView } = await import('/page/viewport.js');
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const [vx, vy] = toView(x, y).map((value) => Math.round(value * devicePixelRatio));
  const copy = new OffscreenCanvas(1, 1).getContext('2d');
  copy.drawImage(document.querySelector('.pane canvas'), vx, vy, 1, 1, 0, 0, 1, 1);
  return [...copy.getImageData(0, 0, 1, 1).data];
}"""
DROP = """([text, name, type]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    const event = new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
    document.querySelector('main').dispatchEvent(event);
  }
}"""
PASTE = """([text, name, type]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], name, { type }));
  document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned nothing, of the bundled model's classes."""
    bundled = models.read_checkpoint("bundled").spec
    spec = tiny.spec(names=bundled.class_names, palette=bundled.palette)
    return tiny.saved(tmp_path_factory.mktemp("models") / "other", spec)


def started(names: list[str], **options: Any) -> tuple[subprocess.Popen[str], str]:
    """A server as its own process, and its address."""
    command = [sys.executable, "-c", SERVER, json.dumps([names, options])]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    address = re.search(r"http://[\d.]+:\d+", line)
    assert address is not None, line
    return process, address[0]


def ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def corrections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "corrected"


@pytest.fixture(scope="module")
def server(other: Path, corrections: Path) -> Iterator[str]:
    process, address = started(["bundled", f"other={other}"], corrections=str(corrections))
    yield address
    ended(process)


def opened(browser: Any, address: str, **options: Any) -> tuple[Any, list[str]]:
    """A page, and what it complains of or asks for beyond its own origin."""
    context = browser.new_context(permissions=["camera"], **options)
    page = context.new_page()
    trouble: list[str] = []
    own = (address.partition("#")[0].rstrip("/"), "data:", "blob:")

    def heard(message: Any) -> None:
        # Chromium itself reports answers of the API that are no success; the page tells of them.
        refused = "/v1/" in message.location["url"] and "Failed to load" in message.text
        if message.type in ("error", "warning") and not refused:
            trouble.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(own) else trouble.append(r.url))
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    return page, trouble


@pytest.fixture
def page(browser: Any, server: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that must neither complain nor ask for anything beyond its own origin."""
    page, trouble = opened(browser, server, **getattr(request, "param", {}))
    yield page
    page.context.close()
    assert trouble == []


def wait(page: Any, function: str) -> None:
    """Wait until a function is true; an expression would be refused by the page's own rules."""
    page.wait_for_function(function)


def choose(page: Any, *files: Path) -> None:
    """Choose photos, and wait until all are answered."""
    page.set_input_files("#files", list(files))
    settled(page)


def settled(page: Any) -> None:
    wait(
        page,
        """() => {
      const items = [...document.querySelectorAll('#strip li')];
      const open = ['waiting', 'running'];
      return items.length && !items.some((item) => open.includes(item.dataset.status));
    }""",
    )


def labels_of(page: Any, model: str | None = None) -> np.ndarray:
    """The label map that the page holds of the photo it shows."""
    flat = np.frombuffer(base64.b64decode(page.evaluate(LABELS, model)), np.uint8)
    with Image.open(CAT) as photo:
        return flat.reshape(photo.height, photo.width)


def predicted(photo: Path = CAT, model: str | Path = "bundled") -> np.ndarray:
    return upscore.Predictor(model)(photo).labels


def posted(server: str, photo: Path, query: str) -> bytes:
    with urlopen(Request(f"{server}/v1/segment?{query}", photo.read_bytes())) as response:
        return response.read()


def legend(page: Any) -> dict[str, str]:
    """Area by class, as it is written."""
    rows = page.locator("#legend button").all()
    return {
        row.locator(".name").inner_text(): row.locator(".area").first.inner_text() for row in rows
    }


def click(page: Any, x: float, y: float, **options: Any) -> None:
    """Click a place of the photo."""
    page.mouse.click(*page.evaluate(PLACE, [x, y]), **options)


def pick(page: Any, name: str, paint: str | None = None) -> None:
    """Pick a view or a tool by its name, and the class that it paints."""
    choice = page.get_by_role("radio", name=name, exact=True)
    choice.evaluate("(input) => input.scrollIntoView({ block: 'center' })")
    choice.check(force=True)
    if paint is not None:
        page.get_by_label("Paint as").select_option(paint)


def as_text(photo: Path) -> str:
    return base64.b64encode(photo.read_bytes()).decode()


def test_a_chosen_photo(page: Any) -> None:
    assert "Drop a photo here" in page.locator("#intake").inner_text()
    choose(page, CAT)
    expected = predicted()
    np.testing.assert_array_equal(labels_of(page), expected)
    names = models.read_checkpoint("bundled").spec.class_names
    areas = {names[i]: (expected == i).mean() for i in np.unique(expected)}
    shown = legend(page)
    assert list(shown) == sorted(areas, key=lambda name: -areas[name])
    for name, text in shown.items():
        if text.startswith("<"):
            assert areas[name] < 0.001
        else:
            assert float(text.rstrip(" %")) == pytest.approx(100 * areas[name], abs=0.051)


@pytest.mark.parametrize("how", [DROP, PASTE], ids=["dropped", "pasted"])
def test_other_ways_in(page: Any, how: str) -> None:
    page.evaluate(how, [as_text(CAT), "cat.jpg", "image/jpeg"])
    settled(page)
    np.testing.assert_array_equal(labels_of(page), predicted())


def test_the_camera(page: Any) -> None:
    page.get_by_role("button", name="Camera").first.click()
    wait(page, "() => document.querySelector('#camera video').videoWidth > 0")
    page.get_by_role("button", name="Take a photo").click()
    settled(page)
    assert page.locator("#strip li").get_attribute("data-status") == "done"
    assert page.evaluate("document.querySelector('#camera video').srcObject") is None


def test_several_photos(page: Any, tmp_path: Path) -> None:
    words = tmp_path / "words.jpg"
    words.write_text("no photo")
    choose(page, CAT, words, samples()["coffee"])
    found = [item.get_attribute("data-status") for item in page.locator("#strip li").all()]
    assert found == ["done", "failed", "done"]
    page.get_by_role("button", name=re.compile("^words.jpg")).click()
    assert page.locator("#notice").get_attribute("data-kind") == "error"
    page.get_by_role("button", name="Try again").click()
    settled(page)
    page.get_by_role("button", name=re.compile("^coffee.jpg")).click()
    coffee = predicted(samples()["coffee"])
    flat = np.frombuffer(base64.b64decode(page.evaluate(LABELS, None)), np.uint8)
    np.testing.assert_array_equal(flat, coffee.ravel())
    page.get_by_role("button", name="Remove coffee.jpg").click(force=True)
    assert page.locator("#strip li").count() == 2


def inner(labels: np.ndarray, label: int, margin: int = 4) -> tuple[float, float]:
    """A place (x, y) whose neighbourhood has one label."""
    same = np.lib.stride_tricks.sliding_window_view(labels == label, (2 * margin + 1,) * 2)
    y, x = np.argwhere(same.all(axis=(2, 3)))[0]
    return float(x + margin + 0.5), float(y + margin + 0.5)


def test_colours_opacity_and_one_class_alone(page: Any) -> None:
    choose(page, CAT)
    labels = predicted()
    spec = models.read_checkpoint("bundled").spec
    shown = [i for i in np.unique(labels) if any(spec.palette[i])]
    label = max(shown, key=lambda i: (labels == i).sum())
    place, elsewhere = inner(labels, label), inner(labels, 0)
    slider = page.get_by_role("slider", name="Opacity")
    slider.fill("100")
    assert page.evaluate(SEEN, place) == [*spec.palette[label], 255]
    slider.fill("0")
    photo = page.evaluate(SEEN, place)
    assert photo[:3] != list(spec.palette[label])
    pick(page, "Photo")
    assert page.evaluate(SEEN, place) == photo
    before = page.evaluate(SEEN, elsewhere)

    page.locator(f'#legend [data-class="{spec.class_names[label]}"]').click()
    assert page.evaluate(SEEN, place) == photo
    veiled = np.array(page.evaluate(SEEN, elsewhere)[:3])
    paper = np.array([0xFB, 0xFA, 0xF7])
    np.testing.assert_allclose(veiled, paper * 215 / 255 + np.array(before[:3]) * 40 / 255, atol=3)
    page.locator(f'#legend [data-class="{spec.class_names[label]}"]').click()
    assert page.evaluate(SEEN, elsewhere) == before


def test_confidence(page: Any, server: str) -> None:
    choose(page, CAT)
    answer = json.loads(posted(server, CAT, "format=json&confidence=true"))
    image = answer["confidence"]["image"].partition(",")[2]
    percent = np.array(Image.open(io.BytesIO(base64.b64decode(image))))
    pick(page, "Confidence")
    y, x = np.unravel_index(percent.argmin(), percent.shape)
    page.wait_for_timeout(200)
    page.mouse.move(*page.evaluate(PLACE, [x + 0.5, y + 0.5]))
    wait(page, "() => /% sure/.test(document.querySelector('.tag').textContent)")
    assert f", {percent.min()} % sure" in page.locator(".tag").first.inner_text()
    red, green, _, _ = page.evaluate(SEEN, [x + 0.5, y + 0.5])
    assert red > green


def test_zoom_and_pan(page: Any) -> None:
    choose(page, CAT)
    stage = page.locator("#stage")
    whole = float(stage.get_attribute("data-scale"))
    place = [100.5, 80.5]
    before = page.evaluate(PLACE, place)
    page.mouse.move(*before)
    page.mouse.wheel(0, -600)  # about a whole pixel of the screen, which is near that place
    wait(page, f"() => document.querySelector('#stage').dataset.scale > {2 * whole}")
    zoomed = page.evaluate(PLACE, place)
    assert zoomed == pytest.approx(before, abs=4)
    page.mouse.down()
    page.mouse.move(before[0] + 40, before[1] + 30)
    page.mouse.up()
    moved = page.evaluate(PLACE, place)
    assert moved == pytest.approx([zoomed[0] + 40, zoomed[1] + 30], abs=1)
    stage.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(PLACE, place) == pytest.approx([moved[0] - 60, moved[1]], abs=1)
    page.keyboard.press("0")
    wait(page, f"() => document.querySelector('#stage').dataset.scale == {whole}")
    page.keyboard.press("+")
    page.get_by_role("button", name="Zoom in").click()
    wait(page, f"() => document.querySelector('#stage').dataset.scale > {1.5 * whole}")
    page.get_by_role("button", name="Fit").click()
    wait(page, f"() => document.querySelector('#stage').dataset.scale == {whole}")


def test_the_class_under_the_pointer(page: Any) -> None:
    choose(page, CAT)
    labels = predicted()
    for label in np.unique(labels)[:2]:
        page.mouse.move(*page.evaluate(PLACE, inner(labels, label)))
        name = models.read_checkpoint("bundled").spec.class_names[label]
        assert page.locator(".tag").first.inner_text() == name


def test_polygon_fill_and_undo(page: Any) -> None:
    choose(page, CAT)
    before = labels_of(page).copy()
    pick(page, "Polygon", "unknown")
    for x, y in ((50, 40), (120, 40), (120, 90), (50, 90)):
        click(page, x, y)
    page.keyboard.press("Enter")
    drawn = before.copy()
    drawn[40:90, 50:120] = 255
    np.testing.assert_array_equal(labels_of(page), drawn)
    assert "not saved" in page.locator("#save-help").inner_text()
    share = float(legend(page)["unknown"].rstrip(" %"))
    assert share == pytest.approx(100 * (drawn == 255).mean(), abs=0.051)

    pick(page, "Fill", "0")
    region = regions(drawn.astype(int) + 1, connectivity=1)
    click(page, 60.5, 50.5)
    filled = np.where(region == region[50, 60], 0, drawn)
    np.testing.assert_array_equal(labels_of(page), filled)

    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(labels_of(page), drawn)
    page.keyboard.press("Control+Shift+z")
    np.testing.assert_array_equal(labels_of(page), filled)
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    np.testing.assert_array_equal(labels_of(page), before)
    assert page.get_by_role("button", name="Undo").is_disabled()
    assert "not saved" not in page.locator("#save-help").inner_text()


def test_a_polygon_that_is_dropped(page: Any) -> None:
    choose(page, CAT)
    before = labels_of(page).copy()
    pick(page, "Polygon", "unknown")
    for x, y in ((50, 40), (120, 40), (120, 90)):
        click(page, x, y)
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    np.testing.assert_array_equal(labels_of(page), before)


@pytest.mark.parametrize("name", ["Brush", "Eraser"])
def test_brush_and_eraser(page: Any, name: str) -> None:
    choose(page, CAT)
    before = labels_of(page).copy()
    pick(page, name, "1" if name == "Brush" else None)
    page.get_by_role("slider", name="Size").fill("20")
    start, end = (60, 60), (160, 110)
    page.mouse.move(*page.evaluate(PLACE, start))
    page.mouse.down()
    page.mouse.move(*page.evaluate(PLACE, end), steps=5)
    page.mouse.up()
    after = labels_of(page)
    y, x = np.mgrid[: after.shape[0], : after.shape[1]] + 0.5
    step = np.subtract(end, start)
    along = np.clip(((x - 60) * step[0] + (y - 60) * step[1]) / (step @ step), 0, 1)
    away = np.hypot(x - 60 - along * step[0], y - 60 - along * step[1])
    painted = 1 if name == "Brush" else 255
    assert (after[away < 9] == painted).all()
    np.testing.assert_array_equal(after[away > 11], before[away > 11])
    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(labels_of(page), before)


def test_corrections_by_keyboard(page: Any) -> None:
    choose(page, CAT)
    before = labels_of(page).copy()
    page.locator("#stage").focus()
    page.keyboard.press("e")
    page.keyboard.press("]")
    for key in ("ArrowRight", "ArrowDown", "Space", "ArrowLeft"):
        page.keyboard.press(key)
    after = labels_of(page)
    assert (after[before != after] == 255).all()
    size = float(page.get_by_role("slider", name="Size").input_value())
    assert (before != after).sum() == pytest.approx(np.pi * size**2 / 4, rel=0.1)
    assert page.locator(".tag").first.is_visible()
    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(labels_of(page), before)


def test_saved_is_what_is_shown(page: Any, corrections: Path) -> None:
    choose(page, CAT)
    for x in (100, 140):  # the second time replaces the first
        pick(page, "Polygon", "unknown")
        for corner in ((40, 40), (x, 40), (x, 90), (40, 90)):
            click(page, *corner)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Save to the data folder").click()
        wait(
            page,
            "() => /^Saved as/.test(document.querySelector('#status').textContent)"
            " && /^Saved/.test(document.querySelector('#save-help').textContent)",
        )
        name = re.match(r"Saved as (\w+)", page.locator("#status").inner_text())
        assert name is not None
        mask = np.array(Image.open(corrections / "masks" / f"{name[1]}.png"))
        np.testing.assert_array_equal(mask, labels_of(page))
        assert (mask[40:90, 40:x] == 255).all()
        page.evaluate("document.querySelector('#status').textContent = ''")
    photo = np.array(Image.open(corrections / "images" / f"{name[1]}.png"))
    np.testing.assert_array_equal(photo, np.array(Image.open(CAT).convert("RGB")))
    assert len(list((corrections / "masks").iterdir())) == 1


def downloaded(page: Any, name: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_downloads(page: Any, tmp_path: Path) -> None:
    choose(page, CAT)
    pick(page, "Polygon", "unknown")
    for corner in ((40, 40), (100, 40), (100, 90)):
        click(page, *corner)
    page.keyboard.press("Enter")
    labels, palette = labels_of(page), models.read_checkpoint("bundled").spec.palette

    path = downloaded(page, "Labels, PNG", tmp_path)
    assert path.name == "cat-labels.png"
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image), labels)
        assert tuple(image.getpalette()[: 3 * len(palette)]) == sum(palette, ())

    overlay = np.array(Image.open(downloaded(page, "Overlay, PNG", tmp_path)).convert("RGB"))
    x, y = inner(labels, 255)
    photo = np.array(Image.open(CAT).convert("RGB")).astype(float)
    mixed = (photo[int(y), int(x)] + [0xE0, 0xE0, 0xC0]) / 2
    np.testing.assert_allclose(overlay[int(y), int(x)], mixed, atol=4)
    assert overlay.shape == photo.shape

    found = json.loads(downloaded(page, "Polygons", tmp_path).read_text())["features"]
    expected = sorted((p.label, p.pixels, len(p.rings)) for p in outlines(labels))
    shown = [
        (f["properties"]["label"], f["properties"]["pixels"], len(f["geometry"]["coordinates"]))
        for f in found
    ]
    assert sorted(shown) == expected


def test_two_models_side_by_side(page: Any, other: Path) -> None:
    choose(page, CAT)
    page.get_by_label("Compare with").select_option("other")
    page.wait_for_selector("#agreement:not([hidden])")
    ours, theirs = predicted(), predicted(model=other)
    np.testing.assert_array_equal(labels_of(page, "bundled"), ours)
    np.testing.assert_array_equal(labels_of(page, "other"), theirs)
    text = page.locator("#agreement").inner_text()
    assert f"{100 * (ours == theirs).mean():.1f} %" in text
    assert page.locator(".pane:visible").count() == 2
    assert page.locator("#legend button").first.locator(".area").count() == 2
    place = inner(ours, 0)
    page.mouse.move(*page.evaluate(PLACE, place))
    names = models.read_checkpoint("bundled").spec.class_names
    tags = [tag.inner_text() for tag in page.locator(".tag").all()]
    assert tags == [names[0], names[theirs[int(place[1]), int(place[0])]]]
    page.locator("#model").select_option("other")
    settled(page)
    np.testing.assert_array_equal(labels_of(page), theirs)


def test_a_photo_the_browser_cannot_show(page: Any, tmp_path: Path) -> None:
    photo = tmp_path / "cat.tif"
    Image.open(CAT).convert("RGB").save(photo)
    choose(page, photo)
    np.testing.assert_array_equal(labels_of(page), predicted(photo))
    assert "cannot show" in page.locator("#notice").inner_text()


def test_a_busy_server_is_asked_again(page: Any) -> None:
    answers = iter(["busy"])

    def once(route: Any) -> None:
        if next(answers, None) is None:
            route.continue_()
        else:
            problem = {"title": "Too Many Requests", "status": 429, "detail": "too much at once"}
            route.fulfill(
                status=429,
                headers={"Retry-After": "1", "Content-Type": "application/problem+json"},
                body=json.dumps(problem),
            )

    page.route("**/v1/segment*", once)
    page.set_input_files("#files", [CAT])
    wait(page, "() => /trying again/.test(document.querySelector('#notice').textContent)")
    settled(page)
    np.testing.assert_array_equal(labels_of(page), predicted())


def test_a_file_that_is_too_long_is_not_sent(page: Any, tmp_path: Path) -> None:
    long = tmp_path / "long.jpg"
    with long.open("wb") as file:
        file.truncate((64 << 20) + 1)
    choose(page, long)
    assert "up to 64 MB" in page.locator("#notice").inner_text()


def test_the_token_and_a_server_that_has_gone(browser: Any, tmp_path: Path) -> None:
    process, address = started(["bundled"], corrections=str(tmp_path / "data"), token=TOKEN)
    page, _ = opened(browser, f"{address}/#token={TOKEN}")
    assert TOKEN not in page.url
    choose(page, CAT)
    np.testing.assert_array_equal(labels_of(page), predicted())

    stranger = browser.new_context().new_page()
    stranger.goto(address)
    stranger.get_by_role("textbox", name="Token").fill(TOKEN)
    stranger.get_by_role("button", name="Continue").click()
    stranger.wait_for_selector("html[data-ready]")
    choose(stranger, CAT)
    np.testing.assert_array_equal(labels_of(stranger), predicted())

    ended(process)
    choose(page, samples()["coffee"])
    assert "does not answer" in page.locator("#notice").inner_text()
    page.context.close()
    stranger.context.close()


@pytest.mark.release
def test_training_from_the_page(page: Any, corrections: Path, tmp_path: Path) -> None:
    cat = Image.open(CAT).convert("RGB")
    for i in range(4):
        path = tmp_path / f"{i}.png"
        cat.crop((40 * i, 0, 40 * i + 160, 160)).save(path)
        page.set_input_files("#files", [path])
        settled(page)
        page.get_by_role("button", name="Save to the data folder").click()
        wait(page, "() => /^Saved/.test(document.querySelector('#save-help').textContent)")
    assert len(list((corrections / "masks").glob("*.png"))) >= 4
    page.evaluate("document.querySelector('#time').options[0].value = '60s'")
    page.locator("#time").select_option("60s")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_selector("#curves svg", timeout=300_000)
    page.wait_for_selector("[data-do=tune]:visible", timeout=300_000)
    text = page.locator("#tuning-text").inner_text()
    assert re.search(r"before, [\d.]+ after", text), text
    assert "in" in page.locator("#curves svg").first.get_attribute("aria-label")


SCREENS = {
    f"{scheme} {name}": {"color_scheme": scheme, "viewport": {"width": width, "height": height}}
    for scheme in ("light", "dark")
    for name, width, height in (("phone", 390, 844), ("wide", 1440, 900))
}


@pytest.mark.parametrize("page", SCREENS.values(), ids=SCREENS.keys(), indirect=True)
def test_accessibility(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check() -> None:
        found = axe.run(page).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in serious] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    check()
    choose(page, CAT, samples()["coffee"])
    check()
    pick(page, "Brush")
    pick(page, "Confidence")
    page.get_by_label("Compare with").select_option("other")
    page.wait_for_selector("#agreement:not([hidden])")
    check()


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": w, "height": 800}} for w in (340, 800, 1600)], indirect=True
)
def test_no_width_scrolls_sideways(page: Any) -> None:
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    choose(page, CAT)
    assert page.evaluate(fits)


def test_the_page_of_the_api(page: Any, server: str) -> None:
    page.goto(f"{server}/docs")
    page.get_by_role("heading", name="POST /v1/segment").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
