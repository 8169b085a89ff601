"""Every error that Prunelle raises on purpose. The command line prints the sentence and exits with `exit_code`.

PrunelleError                     exit 1
├── InputError                    exit 2: what the user handed in was refused, nothing was written
│   ├── SettingError              a value that is out of range, a word that is not in its table
│   ├── ShapeError                a tensor or image of another shape than expected
│   ├── DataError                 a data set that is missing, truncated or malformed
│   ├── ModelError                a model that cannot be named, built or fed
│   ├── WeightsError              weights that do not fit the model
│   ├── CorruptFileError          a file of ours whose hash or header is wrong
│   ├── UntrustedCodeError        a file that would run code, without --trust
│   ├── MissingExtraError         an optional dependency that is not installed
│   └── RunConflictError          an output folder that holds something else
└── WorkError                     exit 1: the work itself failed
    ├── DivergedError             NaN, infinity or a runaway loss while training
    ├── BusyError                 another process holds the run
    ├── DiskError                 the disk is full or failed
    ├── LimitError                a comparison whose limit was not kept
    └── MeasurementError          a figure that could not be measured honestly
"""

from typing import Any


class PrunelleError(Exception):
    exit_code = 1


class InputError(PrunelleError):
    exit_code = 2


class SettingError(InputError):
    pass


class ShapeError(InputError):
    pass


class DataError(InputError):
    pass


class ModelError(InputError):
    pass


class WeightsError(InputError):
    pass


class CorruptFileError(InputError):
    pass


class UntrustedCodeError(InputError):
    pass


class MissingExtraError(InputError):
    pass


class RunConflictError(InputError):
    pass


class WorkError(PrunelleError):
    pass


class DivergedError(WorkError):
    """last_good: the nn.Module with the last weights that were finite."""

    def __init__(self, message: str, last_good: Any = None) -> None:
        super().__init__(message)
        self.last_good = last_good


class BusyError(WorkError):
    pass


class DiskError(WorkError):
    pass


class LimitError(WorkError):
    pass


class MeasurementError(WorkError):
    pass
