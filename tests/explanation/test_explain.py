"""The table of a model's upsampling layers, and how the page is put together."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import rich.console
import torch
import torch.nn.functional as F
from torch import nn

import upscore
from upscore import filters, models
from upscore.explanation import page
from upscore.explanation.explain import explain
from upscore.explanation.layers import Layer
from upscore.explanation.page import open_page


def one(module: nn.Module, shape: tuple[int, ...]) -> Layer:
    """The only upsampling layer of a module."""
    (layer,) = explain(module, shape).layers
    return layer


class Call(nn.Module):
    """A module that is one function."""

    def __init__(self, function, *args, **kwargs):
        super().__init__()
        self.forward = lambda x: function(x, *args, **kwargs)


def centroid(y: torch.Tensor) -> float:
    """The centre of mass along the last axis."""
    mass = y.abs().sum(tuple(range(y.ndim - 1)))
    return float((mass * torch.arange(len(mass))).sum() / mass.sum())


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_shift_is_where_a_pixel_really_goes(kernel: int, stride: int, padding: int) -> None:
    module = nn.ConvTranspose1d(1, 1, kernel, stride, padding, bias=False)
    nn.init.ones_(module.weight)
    x = torch.zeros(1, 1, 9)
    x[..., 4] = 1
    aligned = (4 + 0.5) * stride - 0.5  # where resizing with half-pixel centres puts pixel 4
    with torch.no_grad():
        expected = (centroid(module(x)) - aligned) / stride
    assert one(module, (1, 1, 9)).shift == (pytest.approx(expected),)


@pytest.mark.parametrize("kernel", range(2, 9))
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_advice_is_even_and_unshifted(kernel: int, stride: int) -> None:
    before = one(nn.ConvTranspose2d(2, 3, kernel, stride), (1, 2, 5, 5))
    if not before.advice:
        assert before.checkerboard == 0
        assert before.shift == (0, 0)
        return
    words = before.advice[0].replace(":", "").split()
    better = nn.ConvTranspose2d(2, 3, int(words[1]), stride, int(words[4]))
    after = one(better, (1, 2, 5, 5))
    assert after.checkerboard == 0
    assert after.shift == (0, 0)
    assert after.size_out == (5 * stride, 5 * stride)
    assert after.advice == ()


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_bilinear_layer_is_even_though_equal_taps_would_not_be(factor: int) -> None:
    kernel = 2 * factor - factor % 2
    module = nn.ConvTranspose2d(3, 3, kernel, factor, factor // 2, bias=False, groups=3)
    weight = filters.bilinear_weight(3, factor, groups=3)
    module.weight.data = torch.from_numpy(weight).float()
    layer = one(module, (1, 3, 6, 7))
    assert (layer.checkerboard, layer.shift, layer.advice) == (0, (0, 0), ())


def test_costs_and_sizes() -> None:
    layer = one(nn.ConvTranspose2d(6, 4, (3, 5), (2, 1), groups=2, bias=False), (2, 6, 7, 8))
    assert layer.size_in == (7, 8)
    assert layer.size_out == (15, 12)
    assert layer.multiplications == 2 * 6 * 7 * 8 * (4 // 2) * 3 * 5
    assert layer.bytes == 4 * (2 * 6 * 7 * 8 + 6 * 2 * 3 * 5 + 2 * 4 * 15 * 12)


def test_diagonal_weight_is_noticed() -> None:
    module = nn.ConvTranspose2d(5, 5, 4, 2, 1)
    module.weight.data = torch.from_numpy(filters.bilinear_weight(5, 2)).float()
    assert one(module, (1, 5, 4, 4)).advice == ("groups=5: the weight is zero off its diagonal",)


def test_functions_and_modules_are_found_in_order() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(8, 4, 2, 2))
            self.up = nn.Upsample(scale_factor=2)
            self.shuffle = nn.PixelShuffle(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.shuffle(self.up(self.block(x)))
            x = F.interpolate(x, scale_factor=0.5)  # smaller: no upsampling
            x = F.conv_transpose2d(x, torch.ones(1, 2, 4, 4), stride=2, padding=1)
            return F.interpolate(input=x, size=(9, 70), mode="bilinear", align_corners=True)

    layers = explain(Net(), (1, 8, 4, 4)).layers
    assert [(layer.name, layer.function) for layer in layers] == [
        ("block.1", "conv_transpose2d"),
        ("up", "interpolate nearest"),
        ("shuffle", "pixel_shuffle"),
        ("Net", "conv_transpose2d"),
        ("Net", "interpolate bilinear"),
    ]
    assert layers[1].kernel == (2, 2)
    assert "align_corners" in layers[-1].advice[0]


@pytest.mark.parametrize("backend", ["auto", "torch", "subkernels", "matmul", "zero_insertion"])
def test_our_function_is_noted_once_by_any_backend(backend: str) -> None:
    weight = torch.randn(4, 4, 3, 3)
    function = Call(upscore.conv_transpose2d, weight, stride=2, padding=1, backend=backend)
    layer = one(function, (1, 4, 8, 8))
    module = nn.ConvTranspose2d(4, 4, 3, 2, 1, bias=False)
    module.weight.data = weight
    assert layer == replace(one(module, (1, 4, 8, 8)), name="Call")


def test_fcn_lists_its_upscore_layers() -> None:
    layers = explain(models.fcn8s(5, width="classes"), (1, 3, 50, 70)).layers
    assert [layer.name for layer in layers] == ["upscore_16", "upscore_8"]
    assert all(layer.shift == (0, 0) and layer.checkerboard == 0 for layer in layers)


def test_scores_enlarged_at_the_end_are_noticed() -> None:
    up = Call(F.interpolate, scale_factor=4, mode="bilinear")
    model = nn.Sequential(nn.Conv2d(3, 7, 4, 4), up)
    assert "upscore.argmax" in one(model, (1, 3, 16, 16)).advice[0]
    wrapped = Call(lambda x: {"out": model(x)})
    wrapped.model = model
    assert "upscore.argmax" in one(wrapped, (1, 3, 16, 16)).advice[0]
    more = nn.Sequential(*model, nn.Conv2d(7, 7, 1))
    assert one(more, (1, 3, 16, 16)).advice == ()


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), nn.Upsample(scale_factor=2))
    model[1].eval()
    explain(model, (2, 3, 4, 4))
    assert [m.training for m in model] == [True, False, True]
    assert model[0].num_batches_tracked == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model(torch.ones(2, 3, 4, 4)).shape == (2, 3, 8, 8)


def test_table_and_section_show_every_layer() -> None:
    class Net(nn.Sequential):
        pass

    model = Net(nn.ConvTranspose2d(3, 3, 3, 2), nn.Upsample(scale_factor=2, mode="bilinear"))
    explanation = explain(model, (1, 3, 5, 5))
    out = io.StringIO()
    rich.console.Console(file=out, width=80).print(explanation)
    for text in ("conv_transpose2d", "11×11 → 22×22", "kernel 4 with padding 1", "0.75"):
        assert text in out.getvalue()
        assert text in explanation.html()
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_a_model_without_upsampling_has_none() -> None:
    out = io.StringIO()
    rich.console.Console(file=out).print(explain(nn.ReLU(), (1, 1)))
    assert out.getvalue() == "Upsampling layers of ReLU for an input of 1 × 1: none.\n"
    assert "There are none." in explain(nn.ReLU(), (1, 1)).html()


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="positive whole numbers, batch and channels first"):
        explain(nn.ReLU(), (3,))
    with pytest.raises(TypeError, match="or the name of a checkpoint"):
        explain(lambda x: x, (1, 3, 8, 8))
    with pytest.raises(RuntimeError) as caught:
        explain(nn.Conv2d(3, 3, 1), (1, 4, 8, 8))
    assert caught.value.__notes__ == ["raised by the model itself, run on zeros of (1, 4, 8, 8)"]


def test_script_holds_every_module_once_and_no_import() -> None:
    text = page.script("main")
    files = sorted(path.name for path in page.WEB.glob("*.js"))
    assert sorted(text.count(f"// --- {name} ---") for name in files) == [1] * len(files)
    assert "\nimport " not in text
    assert "\nexport " not in text


def test_page_package_needs_no_torch() -> None:
    code = "import sys, upscore.explanation.page; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_open_page_opens_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr(page.webbrowser, "open", lambda url: opened.append(url) or True)
    assert open_page(tmp_path / "a b.html")
    assert opened == [(tmp_path / "a b.html").as_uri()]


def test_the_page_in_the_docs_is_todays(tmp_path: Path) -> None:
    """Regenerate it with `upscore explain -o docs/explanation/explain.html`."""
    docs = Path(__file__).parents[2] / "docs" / "explanation" / "explain.html"
    written = page.write_page(tmp_path / "page.html")
    assert written.read_bytes() == docs.read_bytes()
