"""What every builder checks first: the shape of one image and the number of classes."""

from __future__ import annotations

from prunelle.errors import SettingError, ShapeError


def check_shape(name: str, input_shape: tuple[int, int, int], num_classes: int, smallest: int = 1) -> None:
    """Refuse an image the network cannot take.

    name: of the network, for the message. input_shape: (C, H, W). smallest: least height and width that fits.
    Raises ShapeError, SettingError.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(side, int) and side >= 1 for side in shape):
        raise ShapeError(f"{name}: input shape is {shape}, must be (C, H, W), three whole numbers of at least 1.")
    if min(shape[1:]) < smallest:
        raise ShapeError(
            f"{name}: input shape is {shape}, height and width must be at least {smallest}; "
            "pass larger images or choose another model."
        )
    if not isinstance(num_classes, int) or num_classes < 1:
        raise SettingError(f"{name}: num_classes is {num_classes!r}, must be a whole number of at least 1.")
