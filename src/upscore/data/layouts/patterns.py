"""Photos and masks found by patterns that the user gives."""

import re
from dataclasses import dataclass
from functools import lru_cache
from glob import escape, has_magic
from itertools import takewhile
from pathlib import Path, PurePosixPath

from upscore.data.layouts.layout import (
    ALL,
    Layout,
    Listing,
    in_order,
    is_image,
    no_partner,
    stem_below,
)
from upscore.data.problems import Problem
from upscore.data.sample import Sample
from upscore.errors import ArgumentError, DataError

BY_PATTERNS = (
    "say where the files are: --images 'img/*.jpg' --masks 'gt/{stem}_mask.png' "
    "(images=, masks= in Python)"
)
_TOKEN = re.compile(r"\*\*/|\*|\?|\[[^]]+\]|\{stem\}|\{split\}|.")
_MEANING = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True)
class Patterns:
    """Where photos and masks are, both below the folder of the data set.

    Args:
        images: a pattern of the photos: `*` stands for anything, `**/` for any folders, `{split}`
            for the name of a split, and `{stem}` for what a photo's mask is called by.
        masks: the mask of a photo: `{stem}` and `{split}` are what they are in `images`, `{parent}`
            is the folder that the photo lies in. Where `images` has no `{stem}`, it is the photo's
            name without suffix.

    Raises:
        ArgumentError: a pattern is empty or leads out of the folder, or `masks` gives all photos
            one mask.

    Examples:
        >>> Patterns(images="img/*.tif", masks="gt/{stem}_mask.png").mask_of("img/a.tif")
        'gt/a_mask.png'
        >>> Patterns("{split}/{stem}_sat.jpg", "{split}/{stem}_mask.png").mask_of("val/8_sat.jpg")
        'val/8_mask.png'
    """

    images: str
    masks: str

    def __post_init__(self) -> None:
        for name, pattern in (("images", self.images), ("masks", self.masks)):
            path = Path(pattern)
            if not pattern or path.anchor or ".." in path.parts:
                raise ArgumentError(f"{name}={pattern!r}; expected a pattern below the folder")
        if "{stem}" not in self.masks and "{parent}" not in self.masks:
            raise ArgumentError(
                f"masks={self.masks!r} is one mask for all photos: put {{stem}}, the photo's name, "
                "or {parent}, its folder, into it"
            )

    def mask_of(self, photo: str) -> str:
        """Return where the mask of a photo is.

        Args:
            photo: the photo's path below the folder.

        Returns:
            The mask's path below the folder.
        """
        parts = self._parts(photo)
        return re.sub(r"\{(\w+)\}", lambda name: parts.get(name[1], name[0]), self.masks)

    def layout(self) -> Layout:
        """Return the layout of a folder that has its files so.

        Returns:
            What `find` takes internally in the place of a known layout.
        """
        return Layout("patterns", f"{self.images} + {self.masks}", self._splits, self._read)

    def _splits(self, root: Path) -> tuple[str, ...]:
        if "{split}" not in self.images:
            return (ALL,)
        return in_order({self._split(root, path) for path in self._partners(root)})

    def _read(self, root: Path, split: str) -> Listing:
        partners = self._partners(root)
        masks = set(partners.values())
        folders = self._folders(split)
        photos_in = root.joinpath(*takewhile(lambda name: not has_magic(name), folders.parts))
        of_mask: dict[Path, Sample] = {}
        problems = []
        for path, mask in partners.items():
            if self._split(root, path) != split:
                continue
            if not mask.is_file():
                problems.append(no_partner(path, f"no mask {mask}", "mask"))
            elif mask in of_mask:
                message = f"{_below(root, of_mask[mask].image)} has the same mask, {mask}"
                remedy = "keep one of the two, or tell their masks apart by {stem} or {parent}"
                problems.append(Problem(path, "ambiguous", message, remedy))
            else:
                of_mask[mask] = Sample(stem_below(path, photos_in), path, mask)
        everywhere = self.masks.replace("{parent}", folders.as_posix())
        everywhere = everywhere.replace("{split}", escape(split)).replace("{stem}", "*")
        problems += [
            no_partner(path, f"no photo among {self.images} has this mask", "photo")
            for path in sorted(root.glob(everywhere))
            if path not in masks and path not in partners and is_image(path.name)
        ]
        return Listing(list(of_mask.values()), problems, f"{self.images}, {self.masks}")

    def _partners(self, root: Path) -> dict[Path, Path]:
        """Where each photo's mask is; masks that a wide pattern finds too are no photos."""
        found = {path: root / self.mask_of(_below(root, path)) for path in self._photos(root)}
        masks = set(found.values())
        return {path: mask for path, mask in found.items() if path not in masks}

    def _folders(self, split: str) -> PurePosixPath:
        """The pattern of the folders that the photos of a split are in."""
        images = self.images.replace("{split}", escape(split)).replace("{stem}", "*")
        return PurePosixPath(Path(images).as_posix()).parent

    def _split(self, root: Path, photo: Path) -> str:
        return self._parts(_below(root, photo)).get("split", ALL)

    def _photos(self, root: Path) -> list[Path]:
        try:
            found = sorted(root.glob(self.images.replace("{split}", "*").replace("{stem}", "*")))
        except (ValueError, NotImplementedError, IndexError) as error:
            raise ArgumentError(f"images={self.images!r}: not a valid pattern ({error})") from error
        photos = [path for path in found if is_image(path.name) and path.is_file()]
        if not photos:
            raise DataError(
                f"{root}: no photo matches {self.images!r}; `*` is anything within a name, `**/` "
                "any folders"
            )
        return photos

    def _parts(self, photo: str) -> dict[str, str]:
        """What stands in a photo's path for each part of the patterns that has a name."""
        path = PurePosixPath(photo)
        found = _expression(self.images).fullmatch(photo)
        named = found.groupdict() if found else {}
        return {"stem": path.stem, "parent": path.parent.as_posix(), **named}


def chosen(
    layout: str | Patterns | None, images: str | None, masks: str | None
) -> str | Patterns | None:
    """The layout that was asked for, where two patterns may stand in its place."""
    if images is None and masks is None:
        return layout
    if images is None or masks is None or layout is not None:
        raise ArgumentError("images and masks go together, and take the place of a layout")
    return Patterns(images, masks)


@lru_cache
def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern of paths as a regular expression; a part with a name is the same throughout."""
    text = ""
    for token in _TOKEN.findall(Path(pattern).as_posix()):
        if token in ("{stem}", "{split}"):
            name = token[1:-1]
            text += f"(?P={name})" if f"<{name}>" in text else f"(?P<{name}>[^/]+)"
        elif len(token) > 1 and token[0] == "[":
            text += token.replace("[!", "[^")
        else:
            text += _MEANING.get(token) or re.escape(token)
    return re.compile(text, re.IGNORECASE)  # as some file systems are


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
