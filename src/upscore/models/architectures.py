"""The networks by the names of their papers: `fcn32s` to `fcn1s`, from coarse to fine scores."""

from collections.abc import Callable

from upscore.errors import ArgumentError
from upscore.models.encoder import DEFAULT_ENCODER
from upscore.models.fcn import FCN
from upscore.models.spec import Spec, Width


def fcn32s(
    classes: int,
    *,
    encoder: str = DEFAULT_ENCODER,
    width: Width = 64,
    pretrained: bool | str = False,
    bands: int = 3,
) -> FCN:
    """Return an FCN-32s: scores at stride 32.

    Equivalent to `FCN(classes, 32, ...)`.

    Args:
        classes: as for `FCN`.
        encoder: as for `FCN`.
        width: as for `FCN`.
        pretrained: as for `FCN`.
        bands: as for `FCN`.

    Returns:
        The network: photos N x B x H x W to scores N x C x ⌈H/32⌉ x ⌈W/32⌉.

    Raises:
        ArgumentError: no such encoder, or no classes.
    """
    return FCN(classes, 32, encoder=encoder, width=width, pretrained=pretrained, bands=bands)


def fcn16s(
    classes: int,
    *,
    encoder: str = DEFAULT_ENCODER,
    width: Width = 64,
    pretrained: bool | str = False,
    bands: int = 3,
) -> FCN:
    """Return an FCN-16s: scores at stride 16.

    Equivalent to `FCN(classes, 16, ...)`.

    Args:
        classes: as for `FCN`.
        encoder: as for `FCN`.
        width: as for `FCN`.
        pretrained: as for `FCN`.
        bands: as for `FCN`.

    Returns:
        The network: photos N x B x H x W to scores N x C x ⌈H/16⌉ x ⌈W/16⌉.

    Raises:
        ArgumentError: no such encoder, or no classes.
    """
    return FCN(classes, 16, encoder=encoder, width=width, pretrained=pretrained, bands=bands)


def fcn8s(
    classes: int,
    *,
    encoder: str = DEFAULT_ENCODER,
    width: Width = 64,
    pretrained: bool | str = False,
    bands: int = 3,
) -> FCN:
    """Return an FCN-8s: scores at stride 8.

    Equivalent to `FCN(classes, 8, ...)`.

    Args:
        classes: as for `FCN`.
        encoder: as for `FCN`.
        width: as for `FCN`.
        pretrained: as for `FCN`.
        bands: as for `FCN`.

    Returns:
        The network: photos N x B x H x W to scores N x C x ⌈H/8⌉ x ⌈W/8⌉.

    Raises:
        ArgumentError: no such encoder, or no classes.
    """
    return FCN(classes, 8, encoder=encoder, width=width, pretrained=pretrained, bands=bands)


def fcn4s(
    classes: int,
    *,
    encoder: str = DEFAULT_ENCODER,
    width: Width = 64,
    pretrained: bool | str = False,
    bands: int = 3,
) -> FCN:
    """Return an FCN-4s: scores at stride 4.

    Equivalent to `FCN(classes, 4, ...)`.

    Args:
        classes: as for `FCN`.
        encoder: as for `FCN`.
        width: as for `FCN`.
        pretrained: as for `FCN`.
        bands: as for `FCN`.

    Returns:
        The network: photos N x B x H x W to scores N x C x ⌈H/4⌉ x ⌈W/4⌉.

    Raises:
        ArgumentError: no such encoder, or no classes.
    """
    return FCN(classes, 4, encoder=encoder, width=width, pretrained=pretrained, bands=bands)


def fcn2s(
    classes: int,
    *,
    encoder: str = DEFAULT_ENCODER,
    width: Width = 64,
    pretrained: bool | str = False,
    bands: int = 3,
) -> FCN:
    """Return an FCN-2s: scores at stride 2.

    Equivalent to `FCN(classes, 2, ...)`.

    Args:
        classes: as for `FCN`.
        encoder: as for `FCN`.
        width: as for `FCN`.
        pretrained: as for `FCN`.
        bands: as for `FCN`.

    Returns:
        The network: photos N x B x H x W to scores N x C x ⌈H/2⌉ x ⌈W/2⌉.

    Raises:
        ArgumentError: no such encoder, or no classes.
    """
    return FCN(classes, 2, encoder=encoder, width=width, pretrained=pretrained, bands=bands)


def fcn1s(
    classes: int,
    *,
    encoder: str = DEFAULT_ENCODER,
    width: Width = 64,
    pretrained: bool | str = False,
    bands: int = 3,
) -> FCN:
    """Return an FCN-1s: scores at stride 1.

    Equivalent to `FCN(classes, 1, ...)`.

    Args:
        classes: as for `FCN`.
        encoder: as for `FCN`.
        width: as for `FCN`.
        pretrained: as for `FCN`.
        bands: as for `FCN`.

    Returns:
        The network: photos N x B x H x W to scores N x C x H x W.

    Raises:
        ArgumentError: no such encoder, or no classes.
    """
    return FCN(classes, 1, encoder=encoder, width=width, pretrained=pretrained, bands=bands)


ARCHITECTURES: dict[str, Callable[..., FCN]] = {
    "fcn32s": fcn32s,
    "fcn16s": fcn16s,
    "fcn8s": fcn8s,
    "fcn4s": fcn4s,
    "fcn2s": fcn2s,
    "fcn1s": fcn1s,
}


def build(
    architecture: str,
    classes: int,
    *,
    encoder: str = DEFAULT_ENCODER,
    width: Width = 64,
    pretrained: bool | str = False,
    bands: int = 3,
) -> FCN:
    """Return a network by the name of its architecture.

    Args:
        architecture: "fcn32s", "fcn16s", "fcn8s", "fcn4s", "fcn2s" or "fcn1s".
        classes: as for `FCN`.
        encoder: as for `FCN`.
        width: as for `FCN`.
        pretrained: as for `FCN`.
        bands: as for `FCN`.

    Returns:
        The network.

    Raises:
        ArgumentError: no such architecture or encoder, or no classes.
    """
    if architecture not in ARCHITECTURES:
        raise ArgumentError(
            f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[architecture](
        classes, encoder=encoder, width=width, pretrained=pretrained, bands=bands
    )


def build_for(spec: Spec) -> FCN:
    """Return the untrained network that a spec describes."""
    return build(
        spec.architecture,
        len(spec.class_names),
        encoder=spec.encoder,
        width=spec.width,
        bands=spec.bands or 3,
    )
