"""Segment Anything's own package, where it is installed, and a predictor of the same steps."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from upscore import compat
from upscore.errors import MismatchError

SIDE, ORIGINAL, INPUT = 64, (75, 100), (48, 64)


class Sam:
    """The steps of segment_anything/modeling/sam.py 1.0; the network returns its prompts."""

    mask_threshold = 0.0
    image_encoder = SimpleNamespace(img_size=SIDE)

    def postprocess_masks(self, masks, input_size, original_size):
        full = F.interpolate(masks, (SIDE, SIDE), mode="bilinear", align_corners=False)
        kept = full[..., : input_size[0], : input_size[1]]
        return F.interpolate(kept, original_size, mode="bilinear", align_corners=False)

    def forward(self, batched_input, multimask_output):
        outputs = []
        for photo in batched_input:
            low = photo["mask_inputs"]
            sizes = photo["image"].shape[-2:], photo["original_size"]
            masks = self.postprocess_masks(low, *sizes) > self.mask_threshold
            outputs.append({"masks": masks, "iou_predictions": low.mean(), "low_res_logits": low})
        return outputs


class SamPredictor:
    """The steps of segment_anything/predictor.py 1.0."""

    def __init__(self, model):
        self.model, self.is_image_set = model, True
        self.input_size, self.original_size = INPUT, ORIGINAL

    def predict_torch(
        self,
        point_coords,
        point_labels,
        boxes=None,
        mask_input=None,
        multimask_output=True,
        return_logits=False,
    ):
        if not self.is_image_set:
            raise RuntimeError("An image must be set")
        masks = self.model.postprocess_masks(mask_input, self.input_size, self.original_size)
        if not return_logits:
            masks = masks > self.model.mask_threshold
        return masks, mask_input.mean(), mask_input


def scores_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def predictor(made):
    made(
        "segment_anything",
        {"predictor": {"SamPredictor": SamPredictor}, "modeling.sam": {"Sam": Sam}},
    )
    return SamPredictor(Sam())


def close(found, theirs):
    return found.dtype == theirs.dtype and (found != theirs).float().mean() < 1e-3


def test_masks_for_prompts(predictor):
    low = scores_of(2, 3, 16, 16)
    theirs = predictor.predict_torch(None, None, mask_input=low)
    soft = predictor.predict_torch(None, None, mask_input=low, return_logits=True)
    with compat.patch("segment_anything", verify=True) as patched:
        assert len(patched.replaced) == 2
        found = predictor.predict_torch(None, None, mask_input=low)
        again = predictor.predict_torch(None, None, mask_input=low, return_logits=True)
        predictor.is_image_set = False
        with pytest.raises(RuntimeError, match="must be set"):
            predictor.predict_torch(None, None, mask_input=low)
    assert close(found[0], theirs[0])
    assert torch.equal(found[1], theirs[1])
    assert found[2] is low
    assert torch.equal(again[0], soft[0])


def test_masks_of_photos(predictor):
    photos = [
        {"image": torch.zeros(3, *cut), "original_size": size, "mask_inputs": scores_of(2, 3, 9, 9)}
        for cut, size in (((48, 64), (75, 100)), ((64, 18), (120, 33)))
    ]
    theirs = predictor.model.forward(photos, True)
    with compat.patch("segment_anything", verify=True):
        found = predictor.model.forward(photos, True)
    for one, other in zip(found, theirs, strict=True):
        assert one.keys() == other.keys()
        assert close(one["masks"], other["masks"])
        assert torch.equal(one["low_res_logits"], other["low_res_logits"])


def test_what_is_left_to_the_library(predictor):
    low = scores_of(1, 3, 16, 16)
    predictor.model.mask_threshold = torch.tensor([0.2, 0.1, 0.3])[:, None, None]
    theirs = predictor.predict_torch(None, None, mask_input=low)
    with compat.patch("segment_anything"):
        found = predictor.predict_torch(None, None, mask_input=low)
        assert torch.equal(found[0], theirs[0])
        predictor.original_size = (75.0, 100.0)
        with pytest.raises(TypeError):
            predictor.predict_torch(None, None, mask_input=low)


def test_verification(predictor, monkeypatch):
    right = Sam.postprocess_masks
    monkeypatch.setattr(Sam, "postprocess_masks", lambda *given: -right(*given))
    with (
        compat.patch("segment_anything", verify=True),
        pytest.raises(MismatchError, match="masks differ at"),
    ):
        predictor.predict_torch(None, None, mask_input=scores_of(1, 3, 16, 16))


def test_the_library_itself(installed):
    """A network of one block, with random weights."""
    modeling, predicting = (
        installed(f"segment_anything.{name}") for name in ("modeling", "predictor")
    )
    torch.manual_seed(0)
    model = modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            img_size=SIDE, embed_dim=16, depth=1, num_heads=2, out_chans=32
        ),
        prompt_encoder=modeling.PromptEncoder(32, (4, 4), (SIDE, SIDE), 4),
        mask_decoder=modeling.MaskDecoder(
            transformer_dim=32,
            transformer=modeling.TwoWayTransformer(
                depth=1, embedding_dim=32, mlp_dim=32, num_heads=2
            ),
        ),
    ).eval()
    own = predicting.SamPredictor(model)
    photo = torch.randint(256, (75, 100, 3), generator=torch.Generator().manual_seed(0))
    own.set_image(photo.byte().numpy())
    point = {"point_coords": torch.tensor([[[20.0, 30.0]]]), "point_labels": torch.ones(1, 1)}
    arrays = {name: one[0].numpy() for name, one in point.items()}
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    records = [{"image": image, "original_size": (75, 100), **point}]

    def results():
        masks, quality, low = own.predict(**arrays)
        batched = own.predict_torch(**point, multimask_output=False)[0]
        everything = model(records, multimask_output=True)[0]["masks"]
        return torch.from_numpy(masks), batched, everything, quality, low

    theirs = results()
    with compat.patch("segment_anything", verify=True):
        found = results()
        assert own.predict(**arrays, return_logits=True)[0].dtype.kind == "f"
    assert all(map(close, found[:3], theirs[:3]))
    assert all((one == other).all() for one, other in zip(found[3:], theirs[3:], strict=True))
