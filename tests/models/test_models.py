"""The FCN family: shapes, alignment, encoders; and its checkpoints, good and broken."""

import dataclasses
import json
import time

import numpy as np
import pytest
import timm
import torch

import tiny
from upscore import models
from upscore.filters import bilinear_filter
from upscore.models import CheckpointError
from upscore.models.encoder import Encoder
from upscore.models.pretrained import PACKAGES, imagenet_weights

pytestmark = pytest.mark.slow

TINY = "test_resnet"
SPEC = tiny.spec("fcn4s", TINY, width=8)


def network_of(stride=4, classes=3, width=8, encoder=TINY):
    names = tiny.NAMES[:classes]
    return tiny.network(tiny.spec(tiny.ARCHITECTURES[stride], encoder, width, names))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (31, 33), (33, 70), (64, 96)])
@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 32])
def test_every_stage_answers_scores_of_its_stride(size, stride):
    network = network_of(stride, encoder=tiny.ENCODER)
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        stages = network.stages(images)
        scores = network(images)
    assert torch.equal(scores, stages[-1])
    assert network.strides[-1] == network.stride == stride
    for s, stage in zip(network.strides, stages, strict=True):
        assert stage.shape == (2, 3, -(-size[0] // s), -(-size[1] // s))
        assert stage.isfinite().all()


@pytest.mark.parametrize(
    "encoder",
    ["test_resnet", "test_efficientnet", "test_convnext", "mobilenetv3_small_050", "resnet10t"],
)
@pytest.mark.parametrize("width", ["classes", 8])
def test_any_encoder_and_either_width(encoder, width):
    network = network_of(width=width, encoder=encoder).train()
    scores = network(torch.randn(2, 3, 65, 97))
    assert scores.shape == (2, 3, 17, 25)
    scores.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_encoders_without_the_needed_pyramid_say_so():
    with pytest.raises(ValueError, match=r"reductions \[.*\]"):
        Encoder("test_vit", (4, 8, 16, 32), False)


def test_an_encoder_that_takes_any_size_is_used_whatever_timm_says_of_it():
    assert timm.get_pretrained_cfg("swiftformer_xs").fixed_input_size
    network = network_of(encoder="swiftformer_xs")
    assert network(torch.randn(1, 3, 65, 97)).shape == (1, 3, 17, 25)


def test_the_paper_form_upscores_each_class_bilinearly():
    network = network_of(1, width="classes", encoder=tiny.ENCODER)
    for s in (16, 8, 4, 2, 1):
        weight = network.get_submodule(f"upscore_{s}").weight.detach()
        expected = torch.zeros(3, 3, 4, 4)
        for c in range(3):
            expected[c, c] = torch.from_numpy(bilinear_filter(2))
        torch.testing.assert_close(weight, expected)


def test_stages_are_aligned_a_ramp_upscored_stays_the_same_ramp():
    """A map linear in the position goes over into itself, sampled twice as densely."""
    network = network_of(1, 1, width="classes", encoder=tiny.ENCODER)
    for s in (16, 8, 4, 2, 1):
        n = 6
        ramp = (torch.arange(n) + 0.5) * 2 * s  # the image positions that coarse cells stand for
        coarse = ramp.expand(1, 1, n, n)
        with torch.inference_mode():
            fine = network.get_submodule(f"upscore_{s}")(coarse)[0, 0]
        assert fine.shape == (2 * n, 2 * n)
        expected = (torch.arange(2 * n) + 0.5) * s
        torch.testing.assert_close(fine[n, 1:-1], expected[1:-1])


def test_scores_do_not_depend_on_the_batch():
    network = network_of()
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        together, alone = network(images), network(images[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", PACKAGES)
def test_packaged_weights_know_the_cat(name):
    """The packages' weights fit timm's networks tensor by tensor: the cat is ImageNet class 285."""
    from skimage.data import chelsea

    network = timm.create_model(name).eval()
    network.load_state_dict(imagenet_weights(name))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in models.preprocessing(name))
    pixels = torch.from_numpy(chelsea()[:, 75:375].copy()).permute(2, 0, 1) / 255
    pixels = torch.nn.functional.interpolate(((pixels - mean) / std)[None], (224, 224))
    with torch.inference_mode():
        assert int(network(pixels).argmax()) == 285


def test_a_hub_that_does_not_answer_is_said_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(ImportError, match=r"no ImageNet weights.*does not answer.*lite0") as error:
        models.fcn4s(2, encoder="resnet18", pretrained=True)
    assert "pretrained=FILE.safetensors" in str(error.value)
    assert time.monotonic() - begun < 10
    with pytest.raises(ImportError, match="timm knows no weights for it"):
        imagenet_weights("test_mambaout")
    with pytest.raises(ValueError, match=r"no weights called 'resnet18\.nonsense'"):
        imagenet_weights("resnet18.nonsense")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", "timm has no encoder 'resnet81'; did you mean resnet18"),
        ("qqqq", "timm has no encoder 'qqqq'; timm.list_models"),
        ("test_vit", "choose a pyramid-shaped encoder"),
        ("efficientformerv2_s0", "made for photos of 224 x 224 pixels"),
    ],
)
def test_encoders_that_do_not_serve_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        models.fcn4s(2, encoder=name)


@pytest.mark.parametrize("encoder", ["test_convnext", "test_efficientnet", "test_resnet"])
def test_weights_reach_every_layer_of_an_encoder(tmp_path, encoder):
    """Feature networks of timm may call the same layers by other names."""
    from safetensors.torch import save_file

    torch.manual_seed(1)
    save_file(timm.create_model(encoder).state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(2)
    loaded = [
        Encoder(encoder, (4, 8, 16, 32), tmp_path / "weights.safetensors").state_dict()
        for _ in range(2)
    ]
    for name, value in loaded[0].items():
        assert torch.equal(value, loaded[1][name]), name


def test_what_is_no_state_dict_is_refused(tmp_path):
    (tmp_path / "weights.pth").write_text("not weights")
    (tmp_path / "weights.safetensors").write_text("not weights")
    for name in ("weights.pth", "weights.safetensors"):
        with pytest.raises(ValueError, match="cannot be read as a state dict"):
            models.fcn4s(2, encoder=TINY, pretrained=str(tmp_path / name))


def test_no_weights_at_a_path(tmp_path):
    with pytest.raises(ValueError, match="expected a state dict of timm's test_resnet"):
        models.fcn4s(2, encoder=TINY, pretrained=str(tmp_path / "none.pth"))


def test_local_encoder_weights_are_loaded_and_wrong_ones_refused(tmp_path):
    from safetensors.torch import save_file

    full = timm.create_model(TINY)
    with torch.no_grad():
        full.conv1[0].weight.fill_(0.25)
    save_file(full.state_dict(), tmp_path / "good.safetensors")
    network = models.fcn4s(2, encoder=TINY, pretrained=str(tmp_path / "good.safetensors"))
    assert (network.encoder.network.conv1[0].weight == 0.25).all()
    save_file({"other": torch.zeros(1)}, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=r"bad\.safetensors does not hold"):
        models.fcn4s(2, encoder=TINY, pretrained=str(tmp_path / "bad.safetensors"))


def test_normalise_is_the_usual_expression():
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (SPEC.mean, SPEC.std))
    torch.testing.assert_close(models.normalise(images, SPEC), (images / 255 - mean) / std)


def test_checkpoint_round_trip(tmp_path):
    spec = dataclasses.replace(SPEC, card={"note": "tuples and text"})
    network = tiny.network(spec)
    models.save(tmp_path / "run" / "best", network, spec)
    loaded, again = models.load(tmp_path / "run")
    assert again == spec
    assert not loaded.training
    images = torch.randn(1, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(loaded(images), network(images))


def test_half_precision_checkpoint_and_replacement(tmp_path):
    tiny.saved(tmp_path, SPEC)
    whole = next(tmp_path.glob("*.safetensors")).stat().st_size
    tiny.saved(tmp_path, SPEC, dtype=torch.float16)
    (half,) = tmp_path.glob("*.safetensors")  # the one before is gone
    assert half.stat().st_size < 0.6 * whole
    loaded, _ = models.load(tmp_path)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def test_saving_again_replaces_what_it_wrote_and_nothing_else(tmp_path):
    others = [tmp_path / "model-int8.onnx", tmp_path / "model-backup.safetensors"]
    for other in others:
        other.write_text("somebody's")
    tiny.saved(tmp_path, SPEC)
    first = {*tmp_path.iterdir()} - {*others}
    tiny.saved(tmp_path, dataclasses.replace(SPEC, mean=(0.1, 0.1, 0.1)))
    second = {*tmp_path.iterdir()} - {*others}
    # The same weights and another graph, which never had the name of the one before.
    assert sorted(path.suffix for path in first ^ second) == [".onnx", ".onnx"]
    assert all(other.read_text() == "somebody's" for other in others)


def test_weights_are_kept_in_float32_or_float16(tmp_path):
    with pytest.raises(ValueError, match=r"float32 or float16, not torch\.bfloat16"):
        tiny.saved(tmp_path, SPEC, dtype=torch.bfloat16)


def test_checkpoint_without_normalisation_counters_is_complete(tmp_path):
    tiny.saved(tmp_path, SPEC)
    state = models.load(tmp_path)[0].state_dict()
    assert any(name.endswith("running_var") for name in state)


def change(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def truncate(folder):
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])


def remove(folder):
    next(folder.glob("*.safetensors")).unlink()


BROKEN = {
    "newer format": (lambda f: change(f, format=99), "format 99.*update upscore"),
    "unknown field": (lambda f: change(f, colour="red"), "colour"),
    "unknown architecture": (lambda f: change(f, architecture="fcn3s"), "fcn3s"),
    "other classes": (
        lambda f: change(f, class_names=["a", "b"], palette=[[0, 0, 0], [1, 1, 1]]),
        "does not hold",
    ),
    "bad palette": (lambda f: change(f, palette=[[1, 2]]), r"model\.json"),
    "an encoder that is no name": (lambda f: change(f, encoder=True), "encoder is True"),
    "an encoder to fetch": (lambda f: change(f, encoder="hf-hub:a/b"), "encoder is hf-hub"),
    "a mapping that is none": (lambda f: change(f, card={"mapping": {"a": 5}}), "card.mapping"),
    "a mapping elsewhere": (lambda f: change(f, card={"mapping": "/etc/passwd"}), "card.mapping"),
    "truncated": (truncate, "truncated"),
    "no weights": (remove, "cannot be read"),
    "not JSON": (lambda f: (f / "model.json").write_text("{"), r"model\.json"),
    "a list": (lambda f: (f / "model.json").write_text("[1]"), r"model\.json"),
    "binary": (lambda f: (f / "model.json").write_bytes(b"\xff\xfe\x00"), r"model\.json"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_checkpoints_say_what_is_wrong(case, tmp_path):
    breaking, message = BROKEN[case]
    tiny.saved(tmp_path, SPEC)
    breaking(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        models.load(tmp_path)


def test_no_checkpoint_there(tmp_path):
    with pytest.raises(CheckpointError, match="no model at"):
        models.load(tmp_path)


def test_labels_of_the_fused_head_are_the_unfused_ones():
    import upscore

    network = network_of()
    images = torch.randn(1, 3, 45, 61)
    with torch.inference_mode():
        scores = network(images)
        labels = upscore.argmax(scores, size=(45, 61), stride=4)
        full = torch.nn.functional.interpolate(
            scores.double(), scale_factor=4, mode="bilinear", align_corners=False
        )[..., :45, :61]
    np.testing.assert_array_equal(labels, full.argmax(1))


def test_the_bundled_model_labels_a_photo_as_its_unfused_form_does():
    """The transposed convolution in full, cropped, and argmax; and the cat is found."""
    from skimage.data import chelsea

    import upscore

    network, spec = models.load("bundled")
    photo = torch.from_numpy(chelsea().copy()).permute(2, 0, 1)[None]
    height, width = photo.shape[-2:]
    with torch.inference_mode():
        scores = network(models.normalise(photo, spec))
        weight = torch.from_numpy(bilinear_filter(4)).expand(len(spec.class_names), 1, 8, 8)
        held = torch.nn.functional.pad(scores.double(), (1, 1, 1, 1), mode="replicate")
        full = torch.nn.functional.conv_transpose2d(
            held, weight, stride=4, padding=2 + 4, groups=len(spec.class_names)
        )[..., :height, :width]
        labels = upscore.argmax(scores, size=(height, width), stride=4)
    assert torch.equal(labels.long(), full.argmax(1))
    assert (labels == spec.class_names.index("cat")).float().mean() > 0.5
    weights = next(models.checkpoint.BUNDLED.glob("*.safetensors"))
    assert weights.stat().st_size <= 12_000_000
