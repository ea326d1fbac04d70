"""The rule by which a folder's masks are called, where they are not called as its photos are."""

import re
from collections.abc import Collection, Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

# Names are cut between words alone: never within the 0012 of img_0012.
_WORD = re.compile(r"[0-9]+|[^\W\d_]+|.", re.DOTALL)


class Affixes(NamedTuple):
    """What all names of a folder begin and end with."""

    before: str = ""
    after: str = ""

    def key(self, name: str) -> str:
        """What a name has of its own."""
        return name[len(self.before) : len(name) - len(self.after)]


class Rule(NamedTuple):
    """`img_7` and `mask_7` belong together: what photos and masks have around their keys."""

    photos: Affixes = Affixes()
    masks: Affixes = Affixes()

    def mask_of(self, photo: str) -> str:
        """The stem of a photo's mask."""
        return self.photos.key(photo).join(self.masks)

    def photo_of(self, mask: str) -> str:
        """The stem of a mask's photo."""
        return self.masks.key(mask).join(self.photos)

    def where(self, root: Path, photos_in: Path, masks_in: Path) -> str:
        """Both folders below the root and, unless stems are equal, the rule as two patterns."""
        photos, masks = (path.relative_to(root).as_posix() for path in (photos_in, masks_in))
        if self == Rule():
            return f"{photos}, {masks}"
        return f"{photos}/{'{stem}'.join(self.photos)}.*, {masks}/{'{stem}'.join(self.masks)}.*"


def rule_of(photos: Collection[str], masks: Collection[str]) -> Rule:
    """The one rule that leads from every mask's stem to a photo's.

    Where some stems are equal, or no rule or several would do, it is that stems are equal. Of one
    photo or one mask nobody knows which part is common to all: the photo's whole stem must be in
    the mask's.

    >>> rule_of(["21_training", "22_training"], ["21_manual1", "22_manual1"]).photos.after
    '_training'
    """
    if not photos or not masks or not set(photos).isdisjoint(masks):
        return Rule()
    own = list(_cuts(photos))[-1] if min(len(photos), len(masks)) > 1 else Affixes()
    keys = {own.key(name) for name in photos}
    found = [cut for cut in _cuts(masks) if all(cut.key(name) in keys for name in masks)]
    return Rule(own, found[0]) if len(found) == 1 else Rule()


def _cuts(names: Collection[str]) -> Iterator[Affixes]:
    """All that the names begin and end with in common, from nothing to as much as there is."""
    words = [_WORD.findall(name) for name in names]
    before, after = _begin(words), _begin([each[::-1] for each in words])[::-1]
    least = min(map(len, words))
    for i in range(len(before) + 1):
        for j in range(min(len(after), least - i) + 1):
            yield Affixes("".join(before[:i]), "".join(after[len(after) - j :]))


def _begin(words: Collection[list[str]]) -> list[str]:
    """The words that all begin with: those that the first and the last of them share."""
    pairs = zip(min(words), max(words), strict=False)
    return [word for word, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
