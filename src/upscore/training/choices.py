"""The rules of a plan: from the numbers of a data set to the fields of a recipe, with reasons.

Each rule is a function of a few lines that returns fields with their values and one reason. None
looks at a data set's name: what is written here has to serve any folder.
"""

from collections.abc import Mapping
from typing import Any

from upscore.training.facts import RARE, Facts
from upscore.training.recipe import Recipe

Choice = tuple[dict[str, Any], str]

LARGE = 512  # pixels: photos are shown to the network no larger on their longer side, unless ...
CLEAR = 14.0  # ... their thinnest things would be thinner than so many pixels
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
    for rule in (_encoder, _size, _crop, _loss, _sampling, _flips, _batch, _length):
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
    reason = (
        "more accurate than tf_efficientnet_lite0 or level with it; a step takes 10 to 23 % longer"
    )
    return {"encoder": ENCODER}, reason


def zoom_of(facts: Facts) -> tuple[float, str]:
    """By how much photos of the median size are enlarged for the network, and why."""
    side = facts.long_sides[1]
    name, thickness = facts.thinnest
    whole, clear = LARGE / side, min(CLEAR / thickness, MOST_SHOWN / side)
    zoom = min(max(whole, clear), MOST_ENLARGED)
    if abs(zoom - 1) < WORTH:
        return 1.0, f"long sides of {side}, {name} {thickness:.0f} pixels thick: as they are"
    if clear > whole:
        return zoom, f"{name} is {thickness:.1f} pixels thick, {CLEAR:g} would be clear"
    shown, thick = side * zoom, thickness * zoom
    return zoom, f"long sides of {side}; at {shown:.0f} {name} is {thick:.0f} pixels thick"


def _size(facts: Facts, given: Mapping[str, Any]) -> Choice:
    """Each photo brought to one size, or all by one factor where things do not grow with it."""
    zoom, reason = zoom_of(facts)
    low, side, high = facts.long_sides
    if facts.grows_with_photos or given.get("long_side") is not None:
        return {
            "long_side": round(side * zoom / 32) * 32 or 32,
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
    crop = max([crop for crop in crops if crop <= 0.75 * shown], default=crops[0])
    on = "a GPU" if facts.on_gpu else "a processor: smaller ones give more steps"
    return {"crop": crop}, f"photos are shown {shown:.0f} pixels long; up to {crops[-1]} on {on}"


def _loss(facts: Facts, given: Mapping[str, Any]) -> Choice:
    name, share = facts.rarest
    if share < RARE:
        reason = f"{name} has {share:.1%} of the pixels: Dice and weights count rare classes more"
        return {"loss": "ce+dice", "class_weights": "sqrt-median"}, reason
    reason = "Dice counts a rarer class as much as a common one"
    return {"loss": "ce+dice", "class_weights": "none"}, reason


def _sampling(facts: Facts, given: Mapping[str, Any]) -> Choice:
    name, share = facts.rarest
    if share < RARE:
        reason = f"{name} has {share:.1%} of the pixels"
        return {"foreground": 0.33, "repeat_rare": 0.3}, reason
    return {"foreground": 0.0, "repeat_rare": 0.0}, f"no class has less than {share:.0%}"


def _flips(facts: Facts, given: Mapping[str, Any]) -> Choice:
    share = facts.asymmetry
    if share < SYMMETRIC:
        reason = f"a guess: the classes fill upper and lower halves alike ({share:.0%} apart)"
        return {"flip_ud": True}, reason
    return {"flip_ud": False}, f"upper and lower halves differ by {share:.0%}"


def _batch(facts: Facts, given: Mapping[str, Any]) -> Choice:
    size, reason = 4, "a processor takes half as long as for 8, and more steps learn more"
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
