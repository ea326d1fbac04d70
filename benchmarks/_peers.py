"""The peers of benchmarks/predict.py: other libraries' networks in every form they can run in."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

Photo = NDArray[np.uint8]  # H x W x 3
Labels = NDArray[np.uint8]  # H x W
Labeller = Callable[[Photo], Labels]
Size = tuple[int, int]  # height and width
Shown = Callable[[torch.Tensor], Labels]  # from a photo at the network's size

LONG_SIDE = 480  # of what every network is shown, as the bundled model asks for
CLASSES = 7  # as the bundled model
MULTIPLE = 32  # of the sides of what peers are shown: their U-Net takes nothing else
FORMS = ("eager", "torch.compile", "onnxruntime", "openvino float32", "openvino bfloat16")


def resized(photo: torch.Tensor, multiple: int) -> torch.Tensor:
    """H x W x 3 to h x w x 3 for the network, antialiased, as torchvision resizes.

    The longer side becomes LONG_SIDE, in multiples of the stride.
    """
    height, width = photo.shape[:2]
    scale = LONG_SIDE / max(height, width) / multiple
    size = [round(side * scale) * multiple for side in (height, width)]
    if size == [height, width]:
        return photo
    pixels = photo.permute(2, 0, 1)[None]
    pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    return pixels[0].permute(1, 2, 0)


class WholePath(nn.Module):
    """A peer from pixels to labels: normalise, network, interpolate to the photo's size, argmax."""

    def __init__(
        self, network: nn.Module, scores_of: Callable[[Any], torch.Tensor], size: Size
    ) -> None:
        super().__init__()
        self.network, self.scores_of, self.size = network, scores_of, size
        # of ImageNet, as the three libraries' own preprocessing
        self.register_buffer("mean", 255 * torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1))
        self.register_buffer("std", 255 * torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1))

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        scores = self.scores_of(self.network(self.normalised(photo)))
        if scores.shape[-2:] != self.size:
            scores = F.interpolate(scores, self.size, mode="bilinear")
        return scores.argmax(1)[0].to(torch.uint8)

    def normalised(self, photo: torch.Tensor) -> torch.Tensor:
        return (photo.permute(2, 0, 1)[None].float() - self.mean) / self.std

    @torch.no_grad()
    def settle(self, photo: torch.Tensor) -> None:
        """Take the normalisation statistics from a photo.

        Behind random weights with statistics 0 and 1 activations vanish: every label is the same
        class, and agreement says nothing.
        """
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        self.network.train()(self.normalised(photo))
        self.eval().to(memory_format=torch.channels_last)


def lraspp() -> tuple[nn.Module, Callable[[Any], torch.Tensor]]:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES)
    return network, lambda answer: answer["out"]


def unet() -> tuple[nn.Module, Callable[[Any], torch.Tensor]]:
    import segmentation_models_pytorch as smp

    network = smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, classes=CLASSES)
    return network, lambda answer: answer


def segformer() -> tuple[nn.Module, Callable[[Any], torch.Tensor]]:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(  # B0: NVIDIA's mit-b0 with its all-MLP head
        depths=[2, 2, 2, 2],
        hidden_sizes=[32, 64, 160, 256],
        num_attention_heads=[1, 2, 5, 8],
        decoder_hidden_size=256,
        num_labels=CLASSES,
    )
    return SegformerForSemanticSegmentation(config), lambda answer: answer.logits


PEERS = {"LR-ASPP": lraspp, "U-Net": unet, "SegFormer-B0": segformer}


class Peer:
    """Another library's network on photos of one size, in each form that it can run in."""

    def __init__(self, name: str, photo: Photo, folder: Path, threads: int) -> None:
        self.name, self.photo, self.threads = name, photo, threads
        self.onnx = folder / f"{name}-{photo.shape[0]}.onnx"

    @cached_property
    def path(self) -> WholePath:
        torch.manual_seed(0)
        path = WholePath(*PEERS[self.name](), self.photo.shape[:2])
        path.settle(self.shown)
        return path

    @cached_property
    def shown(self) -> torch.Tensor:
        """The photo as the network sees it."""
        return resized(torch.from_numpy(self.photo), MULTIPLE)

    @cached_property
    def expected(self) -> Labels:
        return self.labeller("eager")(self.photo)

    def labeller(self, form: str) -> Labeller:
        """The path in one of FORMS, checked against the eager form where it is of float32."""
        run = {
            "eager": lambda: self.by_torch(self.path),
            "torch.compile": lambda: self.by_torch(
                torch.compile(self.path, dynamic=False, options={"freezing": True})
            ),
            "onnxruntime": self.by_onnxruntime,
            "openvino float32": lambda: self.by_openvino("f32"),
            "openvino bfloat16": lambda: self.by_openvino("bf16"),
        }[form]()

        @torch.inference_mode()
        def label(photo: Photo) -> Labels:
            return run(resized(torch.from_numpy(photo), MULTIPLE))

        if form != "eager" and "bfloat16" not in form:
            check(f"{self.name}, {form}", label(self.photo), self.expected, 0.999)
        return label

    def by_torch(self, module: Callable[[torch.Tensor], torch.Tensor]) -> Shown:
        return lambda shown: module(shown).numpy()

    def by_onnxruntime(self) -> Shown:
        import onnxruntime

        self.export()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(
            self.onnx, options, providers=["CPUExecutionProvider"]
        )
        return lambda shown: session.run(None, {"photo": shown.numpy()})[0]

    def by_openvino(self, precision: str) -> Shown:
        import openvino

        self.export()
        compiled = openvino.Core().compile_model(
            self.onnx,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": self.threads,
            },
        )
        return lambda shown: compiled(shown.numpy())[0]

    def export(self) -> None:
        """Write the ONNX file, once."""
        if not self.onnx.exists():
            torch.onnx.export(
                self.path,
                (self.shown,),
                self.onnx,
                dynamo=True,
                verbose=False,
                input_names=["photo"],
                output_names=["labels"],
            )


def check(name: str, labels: Labels, expected: Labels, least: float) -> None:
    """End the run if too few labels agree."""
    agree = (labels == expected).mean()
    if agree < least:
        raise SystemExit(f"{name}: only {agree:.3%} of the labels are the expected ones")
