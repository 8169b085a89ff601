"""NNCF: an OpenVINO network in int8, fitted to calibration images."""

from typing import Any

from torch import Tensor

from prunelle.errors import MissingExtraError, SettingError, WorkError
from prunelle.ship.first_line import first_line
from prunelle.ship.quiet import private, quiet


def quantized(network: Any, calibration: Tensor) -> Any:
    """A copy of an openvino.Model whose weights are int8, symmetric with a scale for each output channel, and whose
    activations are uint8 with a zero of their own; biases are corrected by what rounding shifts.

    calibration: (N, ...) preprocessed training images, of which all are used; 300 to 512 do.
    Raises MissingExtraError without nncf, SettingError for no images, WorkError when NNCF fails.
    """
    if not len(calibration):
        raise SettingError("openvino: int8 is fitted to images and there are none; pass some hundred.")
    try:
        with private(), quiet():
            import nncf
    except ImportError as error:
        raise MissingExtraError("nncf is not installed; pip install 'prunelle[openvino]'.") from error
    # One by one: NNCF's statistics of a batch are not those of its images.
    images = [image.contiguous().numpy() for image in calibration.cpu().split(1)]
    try:
        with quiet():
            return nncf.quantize(
                network.clone(),
                nncf.Dataset(images),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(images),
            )
    except Exception as error:
        raise WorkError(
            f"openvino: the network could not be quantized ({first_line(error)}); take another precision."
        ) from error
