"""What models of queries may give, and the image processors of transformers that take it."""

from importlib import import_module
from types import SimpleNamespace

import torch
from torch.nn import functional as F

SIZES = [(150, 200), (121, 66)]


def made(queries=30, classes=7, seed=0, spread=4.0):
    """Of two photos: smooth masks, some of which are of no class."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(2, queries, 5, 5, generator=generator)
    masks = spread * F.interpolate(coarse, (48, 64), mode="bicubic") - 2
    logits = 5 * torch.randn(2, queries, classes + 1, generator=generator)
    return SimpleNamespace(
        class_queries_logits=logits, masks_queries_logits=masks, logits=logits, pred_masks=masks
    )


def processor(kind, pil=False):
    name = f"{kind}ImageProcessor"
    own = getattr(import_module("transformers"), name)
    if pil:
        module = own.__module__.replace("image_processing_", "image_processing_pil_")
        own = getattr(import_module(module), f"{name}Pil")
    size = {"shortest_edge": 96, "longest_edge": 96}
    if kind != "OneFormer":
        return own(size=size)
    found = own(size=size)
    # Classes come from a file of the network.
    found.class_info_file, found.metadata = "ade20k.json", {"thing_ids": [1, 2, 4, 6]}
    return found
