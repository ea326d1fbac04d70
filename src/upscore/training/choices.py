"""The rules of a plan: from the numbers of a data set to the fields of a recipe, with reasons.

Each rule is a function of a few lines that returns fields with their values and one reason. None
looks at a data set's name: what is written here has to serve any folder.
"""

import math
from collections.abc import Mapping
from typing import Any

from upscore.training.facts import RARE, Facts
from upscore.training.recipe import Recipe

Choice = tuple[dict[str, Any], str]

SMALL, LARGE = 256, 512  # pixels: the longer side is brought between these for the network, unless
CLEAR = 14.0  # ... the thinnest things would be thinner than so many pixels
FAINT = 4.0  # pixels: things that are shown thinner are easily missed
MOST_SHOWN = 1536  # pixels: larger for thin things makes the network slow
MOST_ENLARGED = 2.0  # no photo is enlarged by more: nothing new comes to light
WORTH = 0.2  # a smaller change of size is left out
SPREAD = 1.6  # from the planned size, photos are drawn up to so much smaller and larger
SYMMETRIC = 0.05  # difference of upper and lower halves below which up and down are alike
CROPS = (192, 256, 320, 384)
ENCODER = "tf_efficientnet_lite2"  # the largest whose ImageNet weights come with upscore[train]


def choose(facts: Facts, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """All fields that the data decide, and why; those `given` stay, and later rules see them."""
    fields: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for rule in (_encoder, _norm, _size, _crop, _loss, _sampling, _flips, _batch, _length):
        chosen, reason = rule(facts, fields | dict(given))
        for name, value in chosen.items():
            fields[name] = given.get(name, value)
            reasons[name] = "as given" if name in given else reason
    return fields, reasons


def _encoder(facts: Facts, given: Mapping[str, Any]) -> Choice:
    if given.get("pretrained", True) is not True:
        return {
            "encoder": Recipe().encoder
        }, "without its ImageNet weights a larger one gains nothing"
    reason = "as accurate as tf_efficientnet_lite0 or more; a step takes 10 to 23 % longer"
    return {"encoder": ENCODER}, reason


def _norm(facts: Facts, given: Mapping[str, Any]) -> Choice:
    if given.get("pretrained", True):
        return {}, ""
    return {"frozen_norm": False}, "without pretrained weights there are no statistics to keep"


def zoom_of(facts: Facts) -> tuple[float, str]:
    """By how much photos of the median size are enlarged for the network, and why."""
    side = facts.long_sides[1]
    name, thickness = facts.thinnest
    whole = min(max(1.0, SMALL / side), LARGE / side)  # more shows nothing new, but less around it
    clear = min(CLEAR / thickness, MOST_SHOWN / side)
    zoom = min(max(whole, clear), MOST_ENLARGED)
    if not facts.grows_with_photos:  # the largest photos are enlarged by as much
        zoom = min(zoom, 2 * MOST_SHOWN / facts.long_sides[2])
    if abs(zoom - 1) < WORTH:
        things = f", {name} {thickness:.0f} pixels thick" if name else ""
        return 1.0, f"long sides of {side}{things}: as they are"
    shown, thick = side * zoom, thickness * zoom
    if clear > whole:
        faint = thick < FAINT and zoom < MOST_ENLARGED
        small = ", and may be missed: cut photos into pieces" if faint else ""
        reason = f"{name} is {thickness:.1f} pixels thick, {CLEAR:g} would be clear"
        return zoom, f"{reason}; at {shown:.0f} it has {thick:.1f}{small}"
    things = f"{name} is {thick:.0f} pixels thick" if name else "photos take less time"
    return zoom, f"long sides of {side}; at {shown:.0f} {things}"


def _size(facts: Facts, given: Mapping[str, Any]) -> Choice:
    """Each photo brought to one size, or all by one factor where things do not grow with it."""
    zoom, reason = zoom_of(facts)
    low, side, high = facts.long_sides
    if facts.grows_with_photos or given.get("long_side") is not None:
        return {
            "long_side": side if zoom == 1 else round(side * zoom / 32) * 32 or 32,
            "scale": (round(1 / SPREAD, 3), SPREAD),
        }, reason
    return {
        "long_side": None,
        "scale": (round(zoom / SPREAD, 3), round(zoom * SPREAD, 3)),
    }, f"{reason}; things do not grow with the photos ({low} to {high})"


def _crop(facts: Facts, given: Mapping[str, Any]) -> Choice:
    """The largest crop that most photos fill."""
    scale = (given["scale"][0] * given["scale"][1]) ** 0.5
    shown = (given["long_side"] or facts.long_sides[1]) * scale
    crops = CROPS if facts.on_gpu else CROPS[:2]
    whole = max(32, math.ceil(shown / 32) * 32)  # of a small photo: more would be padding
    crop = max([crop for crop in crops if crop <= 0.75 * shown], default=min(crops[0], whole))
    on = "a GPU" if facts.on_gpu else "a CPU, for more steps"
    return {"crop": crop}, f"photos are shown at {shown:.0f} pixels; at most {crops[-1]} on {on}"


def _loss(facts: Facts, given: Mapping[str, Any]) -> Choice:
    name, share = facts.rarest
    if share < RARE:
        reason = f"{name} has {100 * share:.2g} % of the pixels"
        reason += ": Dice and weights count rare classes more"
        return {"loss": "ce+dice", "class_weights": "sqrt-median"}, reason
    reason = "Dice counts a rarer class as much as a common one"
    return {"loss": "ce+dice", "class_weights": "none"}, reason


def _sampling(facts: Facts, given: Mapping[str, Any]) -> Choice:
    name, share = facts.rarest
    if share < RARE:
        reason = f"{name} has {100 * share:.2g} % of the pixels"
        return {"foreground": 0.33, "repeat_rare": 0.3}, reason
    reason = f"no class has less than {share:.0%} of the pixels"
    if share == 1:
        reason = f"only {name} has pixels"
    return {"foreground": 0.0, "repeat_rare": 0.0}, reason


def _flips(facts: Facts, given: Mapping[str, Any]) -> Choice:
    share = facts.asymmetry
    if share < SYMMETRIC:
        return {"flip_ud": True}, "a guess: upper and lower halves of the masks are alike"
    return {"flip_ud": False}, f"upper and lower halves differ by {share:.0%}"


def _batch(facts: Facts, given: Mapping[str, Any]) -> Choice:
    size, reason = 4, "a CPU takes half as long as for 8, and more steps teach more"
    if facts.on_gpu:
        size, reason = 16, "a GPU takes little longer for it than for fewer"
    shared = -(-size // facts.processes) * facts.processes
    if shared > size:
        reason = f"no fewer than {size}, shared evenly by {facts.processes} processes"
    return {"batch_size": shared}, reason


def _length(facts: Facts, given: Mapping[str, Any]) -> Choice:
    """Between a constant number of crops and a constant number of passes."""
    crops = 4800 * (facts.photos / 20) ** 0.3 * (facts.classes / 2) ** 0.25
    steps = round(min(max(crops, 3200), 64_000) / given["batch_size"], -2)
    return {"steps": max(100, int(steps))}, f"{facts.photos} photos, {facts.classes} classes"
