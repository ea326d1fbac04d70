"""The page of `upscore explain` in a real browser: its numbers are those of the package."""

import importlib.util
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tiny
from upscore import definition, filters, geometry, models
from upscore.explanation import page as page_module
from upscore.explanation.layers import Explanation, Layer
from upscore.explanation.page import write_page

pytestmark = pytest.mark.slow

FIGURES = Path(__file__).parents[2] / "tools" / "explain_figures.py"
SETTINGS = 200
PLANES = 60

# Sets one fragment after the other and collects what the page then shows.
COLLECT = """async ([fragments, read]) => {
  const answers = [];
  document.body.hidden = true;  // the numbers do not need to be drawn each time
  for (const fragment of fragments) {
    if (location.hash !== fragment) {
      const changed = new Promise((done) => addEventListener('hashchange', done, {once: true}));
      location.hash = fragment;
      await changed;
    }
    answers.push(eval(read)());
  }
  document.body.hidden = false;
  return answers;
}"""


def figures() -> Any:
    """The tool that makes chapter 1's pictures, as a module."""
    spec = importlib.util.spec_from_file_location(FIGURES.stem, FIGURES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Chapter 1's pictures, made here by a network that has learned nothing."""
    folder = tmp_path_factory.mktemp("pictures")
    tiny.saved(folder / "model", tiny.spec("fcn4s"))
    with pytest.MonkeyPatch.context() as patch:
        maker = figures()
        maker.timing = lambda: "It took a while."  # takes seconds
        maker.make(folder / "photo", folder / "model")
        patch.setattr(page_module, "PHOTO", folder / "photo")
        yield folder / "photo"


@pytest.fixture(scope="module")
def file(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layer = Layer("up", "conv_transpose2d", (3,), (2,), (4,), (9,), (0.25,), 0.5, 12, 34, ("a<b",))
    explanation = Explanation("Model", (1, 3, 4, 4), (layer,))
    return write_page(tmp_path_factory.mktemp("page") / "page.html", explanation)


@pytest.fixture
def page(browser: Any, file: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that must neither complain nor ask for anything beyond its own file."""
    context = browser.new_context(**getattr(request, "param", {}))
    page = context.new_page()
    trouble: list[str] = []
    page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith((file.as_uri(), "data:")) else trouble.append(r.url),
    )
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield page
    context.close()
    assert trouble == []


def collect(page: Any, fragments: list[str], read: str) -> list[Any]:
    answers = page.evaluate(COLLECT, [fragments, read])
    assert isinstance(answers, list)
    return answers


def numbers(text: str) -> list[float]:
    return [float(number.replace("−", "-")) for number in text.split()]


def settings() -> list[dict[str, Any]]:
    """Random settings of one axis, all possible ones."""
    dice = random.Random(0)
    found: list[dict[str, Any]] = []
    while len(found) < SETTINGS:
        c = {
            "length": dice.randint(1, 16),
            "kernel": dice.randint(1, 5),
            "stride": dice.randint(1, 4),
            "dilation": dice.randint(1, 3),
        }
        span = c["dilation"] * (c["kernel"] - 1) + 1
        c["padding"] = dice.randint(0, span - 1)
        if c["length"] + 2 * c["padding"] >= span:
            for name, count in (("v", 16), ("x", 28), ("w", 5)):
                c[name] = [dice.randint(-9, 9) for _ in range(count)]
            found.append(c)
    return found


def fragment(chapter: str, **setting: Any) -> str:
    texts = {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in setting.items()}
    return "#" + "&".join([chapter, *(f"{name}={value}" for name, value in texts.items())])


def test_one_axis_equals_the_definition(page: Any) -> None:
    read = """() => {
      const id = (name) => document.getElementById(name).dataset;
      const rows = [...document.querySelectorAll('#views tbody tr')].map((tr) => tr.children);
      return {
        views: Object.fromEntries(rows.map(([name, y]) => [name.textContent, y.textContent])),
        cost: rows.map((cells) => cells[2].textContent),
        ...id('convolution'), ...id('transpose'), ...id('subkernels'), ...id('zeros'),
        agree: document.querySelector('[data-part=agree]').textContent,
      };
    }"""
    cases = settings()
    answers = collect(page, [fragment("", **c) for c in cases], read)
    for c, shown in zip(cases, answers, strict=True):
        span = c["dilation"] * (c["kernel"] - 1) + 1
        steps = c["length"] + 2 * c["padding"] - span
        short, extra = steps // c["stride"] + 1, steps % c["stride"]
        x, v, w = c["x"][:short], c["v"][: c["length"]], c["w"][: c["kernel"]]
        axis = geometry.pytorch(short, c["kernel"], c["stride"], c["padding"], extra, c["dilation"])
        weight = np.array(w)[None, None]
        for name, view in definition.VIEWS.items():
            expected = view(np.array(x)[None, None], weight, [axis]).ravel().tolist()
            words = {"zero_insertion": "zero insertion", "subkernels": "sub-kernels"}
            assert numbers(shown["views"][words.get(name, name)]) == expected, (name, c)
        for chapter in ("transpose", "subkernels", "zeros"):
            assert numbers(shown[chapter]) == expected, (chapter, c)
        matrix = definition.convolution_matrix(weight, [axis])
        assert numbers(shown["convolution"]) == (matrix @ v).tolist(), c
        useful = np.count_nonzero(definition.convolution_matrix(np.ones_like(weight), [axis]))
        products = c["length"] * c["kernel"]
        cost = [short * c["length"], useful, useful, products]
        assert [int(text.replace(",", "")) for text in shown["cost"]] == cost, c
        assert int(shown["wasted"]) == products - useful, c
        assert shown["agree"] == "All four agree."


def test_two_axes_equal_the_definition(page: Any) -> None:
    dice = random.Random(1)
    cases = []
    while len(cases) < PLANES:
        c = {
            "side": dice.randint(1, 5),
            "kernel2": dice.randint(1, 6),
            "stride2": dice.randint(1, 3),
            "dilation2": dice.randint(1, 2),
            "filter": dice.choice(["ones", "numbers", "bilinear"]),
        }
        if c["filter"] == "bilinear":
            c |= {"kernel2": 2 * c["stride2"] - c["stride2"] % 2, "dilation2": 1}
        span = c["dilation2"] * (c["kernel2"] - 1) + 1
        c["output2"] = dice.randint(0, max(c["stride2"], c["dilation2"]) - 1)
        c["padding2"] = dice.randint(0, span - 1)
        if (c["side"] - 1) * c["stride2"] + span + c["output2"] - 2 * c["padding2"] >= 1:
            cases.append(c)
    read = "() => ({...document.getElementById('plane').dataset})"
    answers = collect(page, [fragment("", **c) for c in cases], read)
    for c, shown in zip(cases, answers, strict=True):
        n, k = c["side"], c["kernel2"]
        line = {
            "ones": np.ones(k),
            "numbers": 1.0 + np.arange(k) % 3,
            "bilinear": filters.bilinear_filter(c["stride2"], dim=1),
        }[c["filter"]]
        i, j = np.indices((n, n))
        x = 1 + (2 * i + j) % 4 if c["filter"] == "numbers" else np.ones((n, n))
        options = {
            "stride": c["stride2"],
            "padding": c["padding2"],
            "output_padding": c["output2"],
            "dilation": c["dilation2"],
        }
        weight = np.outer(line, line)[None, None]
        y = definition.conv_transpose(x[None, None], weight, **options)
        np.testing.assert_allclose(numbers(shown["plane"]), y.ravel(), atol=1e-9, err_msg=str(c))
        ones = np.ones((1, 1, n, n))
        counts = definition.conv_transpose(ones, np.ones_like(weight), **options)
        assert numbers(shown["counts"]) == counts.ravel().tolist(), c
        spread = np.zeros(c["dilation2"] * (k - 1) + 1)
        spread[:: c["dilation2"]] = line
        uneven = filters.checkerboard(np.outer(spread, spread), (c["stride2"],) * 2)
        assert float(shown["checkerboard"]) == pytest.approx(uneven, abs=1e-9), c


def test_bilinear_filter_equals_filters(page: Any) -> None:
    factors = range(1, 9)
    read = "() => ({...document.getElementById('bilinear').dataset})"
    answers = collect(page, [fragment("bilinear", factor=f) for f in factors], read)
    for f, shown in zip(factors, answers, strict=True):
        line = filters.bilinear_filter(f, dim=1)
        np.testing.assert_allclose(numbers(shown["filter"]), line, rtol=1e-12)
        tutorial = geometry.tensorflow(4, len(line), f, "SAME", 3 * f + 1)
        assert float(shown["shift"]) == geometry.shift(tutorial, align_corners=True)


@pytest.mark.parametrize("factor", [1, 3, 4])
def test_enlarged_picture_equals_the_layer(page: Any, pictures: Path, factor: int) -> None:
    read = """() => {
      const c = document.querySelector('canvas[data-part=bilinear]');
      const pixels = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      return [c.height, c.width, [...pixels]];
    }"""
    collect(page, [fragment("bilinear", factor=factor)], "() => 0")
    eye = np.asarray(Image.open(pictures / "eye.png"), float)
    page.wait_for_function(
        f"document.querySelector('canvas[data-part=bilinear]').width === {eye.shape[1] * factor}"
    )
    height, width, data = page.evaluate(read)
    shown = np.reshape(data, (height, width, 4))[..., :3]
    expected = definition.conv_transpose(
        eye.transpose(2, 0, 1)[:, None],
        filters.bilinear_weight(1, factor),
        stride=factor,
        padding=geometry.upscore_padding(factor),
    )
    assert np.abs(shown - expected[:, 0].transpose(1, 2, 0)).max() <= 0.5 + 1e-9


def random_layer(convention: str, dice: random.Random) -> list[Any]:
    """The fields of the size calculator in their order; None is an empty one."""
    n, k, s, d = dice.randint(1, 12), dice.randint(1, 9), dice.randint(1, 5), dice.randint(1, 3)
    near = n * s + dice.randint(-3, 8)

    def sometimes(value: Any) -> Any:
        return value if dice.random() < 0.4 else None

    def small(most: int) -> int:
        return dice.randint(0, most)

    return {
        "pytorch": lambda: [n, k, s, small(4), small(2), d, sometimes(near)],
        "tensorflow": lambda: [n, k, s, dice.choice(["SAME", "VALID"]), sometimes(near), d],
        "caffe": lambda: [n, k, s, small(3), d, small(6), sometimes(near)],
        "onnx": lambda: [
            *(n, k, s, small(4), small(4), small(2), d),
            dice.choice(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]),
            sometimes(near),
        ],
    }[convention]()


def read_layer(convention: str, fields: list[Any]) -> tuple[geometry.Axis | None, str]:
    """The layer, or what the page should say of it."""
    try:
        return axis_of(convention, fields), ""
    except ValueError as error:
        return None, f"Not possible: {error}."


def axis_of(convention: str, fields: list[Any]) -> geometry.Axis:
    if convention == "pytorch":
        return geometry.pytorch(*fields[:6], output_size=fields[6])
    if convention == "tensorflow":
        return geometry.tensorflow(*fields)
    if convention == "caffe":
        return geometry.caffe(*fields[:5], offset=fields[5], crop_size=fields[6])
    n, k, s, begin, end, extra, d, auto_pad, shape = fields
    return geometry.onnx(n, k, s, (begin, end), extra, d, auto_pad=auto_pad, output_shape=shape)


def in_words(axis: geometry.Axis) -> list[str]:
    """The layer in the four conventions, as the page writes it."""
    p, op, cut = geometry.to_pytorch(axis)
    whole = cut == slice(0, axis.full - 2 * p + op)
    pytorch = f"padding={p}, output_padding={op}" + (
        "" if whole else f", then [{cut.start}:{cut.stop}]"
    )
    try:
        padding, size = geometry.to_tensorflow(axis)
        name = f'"{padding}"' if isinstance(padding, str) else str(padding)
        tensorflow = f"padding={name}, output_size={size}"
    except ValueError as error:
        tensorflow = str(error)
    try:
        pad, offset = geometry.to_caffe(axis)
        caffe = f"pad={pad}, crop offset={offset}, crop size={axis.size_out}"
    except ValueError as error:
        caffe = str(error)
    pads, extra = geometry.to_onnx(axis)
    return [pytorch, tensorflow, caffe, f"pads={pads}, output_padding={extra}"]


def test_size_calculator_equals_geometry(page: Any) -> None:
    dice = random.Random(2)
    conventions = [c for c in ("pytorch", "tensorflow", "caffe", "onnx") for _ in range(60)]
    cases = [(c, random_layer(c, dice)) for c in conventions]
    texts = [["" if v is None else v for v in fields] for _, fields in cases]
    fragments = [
        fragment("", convention=c, layer=text) for (c, _), text in zip(cases, texts, strict=True)
    ]
    read = """() => {
      const root = document.getElementById('sizes');
      const rows = [...root.querySelectorAll('.answer tr')];
      return {
        facts: JSON.parse(root.dataset.sizes),
        error: root.querySelector('[data-part=error]').textContent,
        rows: rows.map((tr) => tr.children[1].textContent),
      };
    }"""
    answers = collect(page, fragments, read)
    possible = 0
    for (convention, fields), shown in zip(cases, answers, strict=True):
        axis, problem = read_layer(convention, fields)
        assert shown["error"] == problem, (convention, fields)
        if axis is None:
            continue
        possible += 1
        positions = geometry.sampling(axis)
        assert shown["facts"] == {
            "size_out": axis.size_out,
            "begin": axis.begin,
            "end": axis.end,
            "shift": geometry.shift(axis),
            "corners": geometry.shift(axis, align_corners=True),
            "first": pytest.approx(positions[0]),
            "last": pytest.approx(positions[-1]),
        }, (convention, fields)
        assert shown["rows"][0] == str(axis.size_out)
        assert shown["rows"][-4:] == in_words(axis), (convention, fields)
    assert len(cases) > 200
    assert 100 < possible < len(cases)


def test_network_shapes(page: Any) -> None:
    cases = [("fcn32s", 360, 480, 21), ("fcn8s", 1, 7, 1), ("fcn4s", 1081, 1919, 150)]
    fragments = [
        fragment("network", net=net, height=h, width=w, classes=c) for net, h, w, c in cases
    ]
    answers = collect(page, fragments, "() => document.getElementById('network').dataset.shape")
    for (net, h, w, c), shown in zip(cases, answers, strict=True):
        stride = int(net[3:-1])
        assert shown == f"{c} {math.ceil(h / stride)} {math.ceil(w / stride)}"


def test_animations_reach_their_last_step(page: Any) -> None:
    page.clock.install()
    page.reload()
    players = page.locator(".player").all()
    assert len(players) == 4
    for player in players:
        player.locator(".play").click()
        assert player.get_attribute("data-step") == "0"
    page.clock.run_for(30_000)
    for player in players:
        assert int(player.get_attribute("data-last")) > 0
        assert player.get_attribute("data-step") == player.get_attribute("data-last")
        assert player.locator(".play").text_content() == "Play"


def test_player_pauses_and_steps(page: Any) -> None:
    page.clock.install()
    page.reload()
    player = page.locator("#subkernels .player")
    player.locator(".play").click()
    page.clock.run_for(2000)
    player.locator(".play").click()
    step = int(player.get_attribute("data-step"))
    assert 0 < step < int(player.get_attribute("data-last"))
    page.clock.run_for(5000)
    assert player.get_attribute("data-step") == str(step)
    player.get_by_role("button", name="Forward").click()
    assert player.get_attribute("data-step") == str(step + 1)


def test_keyboard_changes_what_is_shown(page: Any) -> None:
    arithmetic = page.locator("#convolution p.arithmetic")
    before = arithmetic.text_content()
    page.get_by_role("slider", name="Look at output").first.focus()
    page.keyboard.press("ArrowRight")
    assert arithmetic.text_content() != before
    assert "row=3" in page.url


def test_sliders_show_what_a_link_says(page: Any) -> None:
    # Each is beyond the end its slider has at first.
    collect(page, ["#&length=16&kernel=5&dilation=3&padding=12&stride=1&row=27&column=15"], "Date")
    for name, value in (("Padding", "12"), ("Look at output", "27"), ("Length", "16")):
        assert page.get_by_role("slider", name=name).first.input_value() == value


def test_a_link_holds_the_setting(page: Any, browser: Any, file: Path) -> None:
    page.get_by_role("slider", name="Stride").first.fill("3")
    page.get_by_role("spinbutton", name="Kernel 2").fill("-5")
    page.keyboard.press("Tab")
    other = browser.new_page()
    other.goto(page.url)
    read = "document.querySelector('#views').innerText"
    assert other.evaluate(read) == page.evaluate(read)
    assert "−5" in page.locator("#transpose").text_content()
    other.close()


@pytest.mark.parametrize(
    "fragment",
    [
        "#<img src=x onerror=alert(1)>&length=99999999&kernel=-3&stride=1e9&padding=x",
        "#sizes&convention=nothing&layer=1,,,a,%zz,<b>",
        "#plane&side=5&kernel2=6&stride2=3&padding2=10&dilation2=2&output2=2",
        "#views&x=NaN,Infinity,1e400&w=,,,&height=0",
        "#sizes&convention=pytorch&layer=0,0,0,-1,9999999999,0,",
    ],
)
def test_any_fragment_is_harmless(page: Any, fragment: str) -> None:
    shown = collect(
        page, [fragment], "() => document.querySelector('[data-part=agree]').textContent"
    )
    assert shown == ["All four agree."]


@pytest.mark.parametrize(
    "page", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True
)
def test_accessibility(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in serious] == []


def test_every_figure_says_what_it_shows(page: Any) -> None:
    for svg in page.locator("svg").all():
        assert svg.get_attribute("role") == "img"
        assert len(svg.get_attribute("aria-label")) > 20
    for figure in page.locator("figure").all():
        assert figure.locator("figcaption").text_content().strip()


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": w, "height": 800}} for w in (340, 800, 1600)], indirect=True
)
def test_no_width_scrolls_sideways(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("page", [{"reduced_motion": "reduce"}], indirect=True)
def test_reduced_motion_is_honoured(page: Any) -> None:
    moving = """[...document.querySelectorAll('*')].filter(
      (element) => parseFloat(getComputedStyle(element).transitionDuration) > 0).length"""
    assert page.evaluate(moving) == 0


def test_explained_model_is_a_chapter(page: Any) -> None:
    text = page.locator("#model").inner_text()
    assert "conv_transpose2d" in text
    assert "a<b" in text
    assert page.locator(".contents a").last.text_content() == "Your model"


def test_small_and_quick(page: Any, file: Path) -> None:
    assert file.stat().st_size < 1_500_000
    # Processor time of the page's thread, which other work on the machine does not change.
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    page.wait_for_selector("html[data-ready]")
    metrics = session.send("Performance.getMetrics")["metrics"]
    seconds = {metric["name"]: metric["value"] for metric in metrics}["TaskDuration"]
    assert 0 < seconds < 1


def test_photo_and_its_answers(page: Any, pictures: Path) -> None:
    facts = json.loads((pictures / "facts.json").read_text())
    assert facts["stages"] == {"32": [10, 15], "16": [19, 29], "8": [38, 57], "4": [75, 113]}
    for stride, (h, w) in facts["stages"].items():
        page.get_by_role("radio", name=stride, exact=True).check()
        assert f"3 classes × {h} × {w} coarse scores" in page.locator("#why .facts").inner_text()
        shown = page.locator(".layers img:visible")
        assert [image.get_attribute("data-stride") for image in shown.all()] == [stride, stride]
        sizes = [image.evaluate("i => [i.naturalHeight, i.naturalWidth]") for image in shown.all()]
        assert sizes == [[h, w], [facts["height"], facts["width"]]]
    page.get_by_role("slider", name="Move the line").fill("20")
    assert page.locator(".compare").evaluate("e => e.style.getPropertyValue('--cut')") == "20%"


def test_shipped_pictures_are_of_the_bundled_model() -> None:
    shipped = json.loads((page_module.WEB / "photo" / "facts.json").read_text())
    spec = models.read_checkpoint("bundled").spec
    assert shipped["classes"] == list(spec.class_names)
