"""Several models that answer as one."""

from collections.abc import Sequence
from math import prod
from typing import Any

from upscore.errors import ArgumentError
from upscore.images import kind_of
from upscore.inference.fusion import Coarse, fused
from upscore.inference.segmenter import Photos, Segmenter
from upscore.inference.tta import Tta


class Ensemble(Segmenter):
    """Models of the same classes as one: each has a vote, by its probabilities.

    `upscore.load` makes one of a list. Strides, sizes and engines may differ: each model is shown a
    photo as it wants it, and the scores are brought onto the finest of their grids. The spec is
    that of the model with the smallest stride.

    Args:
        members: the models.
        names: what to call them in an error, such as their folders.

    Raises:
        ArgumentError: there is no member, or their classes or bands differ.

    Examples:
        >>> import upscore
        >>> pair = Ensemble([upscore.load(), upscore.load().at(384)])
        >>> [member.spec.long_side for member in pair.members]
        [480, 384]
    """

    def __init__(self, members: Sequence[Segmenter], names: Sequence[str] = ()) -> None:
        if not members:
            raise ArgumentError("an ensemble of no models: give at least one")
        _check_classes(members, names or [f"model {i}" for i, _ in enumerate(members, 1)])
        spec = min((member.spec for member in members), key=lambda spec: spec.stride)
        super().__init__(spec, _Engines(members))
        self.voters = tuple(members)

    @property
    def members(self) -> tuple[Segmenter, ...]:
        """The models, those of an ensemble within this one each for itself."""
        return tuple(one for member in self.voters for one in member.members)

    def at(self, long_side: int | None) -> "Ensemble":
        """Return these models with photos resized to one size for all of them.

        Args:
            long_side: pixels of the photos' longer side, or None to leave photos as they are.

        Returns:
            A new Ensemble; this one stays as it is.
        """
        return Ensemble([member.at(long_side) for member in self.voters])

    def with_tta(self, tta: Tta) -> "Ensemble":
        """Return these models, each with this test-time augmentation.

        Args:
            tta: as for `Segmenter.with_tta`.

        Returns:
            A new Ensemble; this one stays as it is.
        """
        return Ensemble([member.with_tta(tta) for member in self.voters])

    def coarse(self, photos: Photos) -> Coarse:
        """Return the scores of photos that `labels` are made of, on the finest member's grid.

        Args:
            photos: as for `Segmenter.coarse`.

        Returns:
            As `Segmenter.coarse`.
        """
        found = [member.coarse(photos) for member in self.voters]
        return fused(sorted(found, key=lambda coarse: prod(coarse.cells), reverse=True))


class _Engines:
    """The engines of several models as one."""

    def __init__(self, members: Sequence[Segmenter]) -> None:
        self.members = members
        self.name = " + ".join(dict.fromkeys(member.engine.name for member in members))

    def scores(self, photos: Photos) -> Any:
        """Coarse scores of all of them; what fits every photo fits those that need no padding."""
        return Ensemble(self.members).scores(photos)


def _check_classes(members: Sequence[Segmenter], names: Sequence[str]) -> None:
    """Raise ArgumentError unless all members name the classes of the first, in its order."""
    expected = members[0].spec.class_names
    for member, name in zip(members[1:], names[1:], strict=True):
        if member.spec.bands != members[0].spec.bands:
            raise ArgumentError(
                f"models of one ensemble must take the same photos: {names[0]} takes "
                f"{kind_of(members[0].spec.bands)}, {name} {kind_of(member.spec.bands)}"
            )
        found = member.spec.class_names
        if found == expected:
            continue
        lacks = ", ".join(one for one in expected if one not in found)
        adds = ", ".join(one for one in found if one not in expected)
        said = [f"lacks {lacks}"] if lacks else []
        said += [f"adds {adds}"] if adds else []
        raise ArgumentError(
            f"models of one ensemble must have the same classes: {name} "
            f"{' and '.join(said) or 'has them in another order'}\n"
            f"  {names[0]}: {', '.join(expected)}\n"
            f"  {name}: {', '.join(found)}\n"
            "train them on the same data with the same mapping, or use them one by one"
        )
