"""Every error that edgex raises on purpose.

    EdgexError
    ├── BadInputError (ValueError)            what the user gave cannot be used
    │   ├── ImageError                        an image that cannot be read
    │   ├── DatasetError                      a folder of photos that cannot be trained, calibrated or evaluated on
    │   ├── SpecError                         a contract that is missing, malformed or of another schema version
    │   ├── ModelFileError                    a model file that its engine cannot load
    │   ├── WeightsError                      tensors that are missing, unexpected or of another shape
    │   ├── DivergedError                     a training run whose numbers are not finite any more
    │   └── BundleError                       a bundle that is damaged, or that nobody who is trusted has signed
    ├── MissingExtraError (ImportError)       an engine or a toolchain that is not installed
    ├── ContractMismatchError (RuntimeError)  an artifact that does not do what its contract says
    ├── StageError (RuntimeError)             a conversion stage that could not finish
    ├── ParityError (RuntimeError)            a stage that changed the answers
    ├── AccuracyGateError (RuntimeError)      an artifact that lost accuracy, or that cannot prove it has not
    ├── DeviceUnavailableError (RuntimeError) an accelerator or a board that was asked for and is not there
    ├── DeployError (RuntimeError)            a board that did not keep a release
    └── SourceLostError (ConnectionError)     a camera or stream that ended before it should

A message says what was wanted, what was found and what to do. The command line alone turns a class into an exit code.
"""

from functools import partial


class EdgexError(Exception):
    """Base of every error that edgex raises on purpose."""


class BadInputError(EdgexError, ValueError):
    """What the user gave cannot be used."""


class ImageError(BadInputError):
    """An image cannot be read, or not as a picture."""


class DatasetError(BadInputError):
    """A folder of photos cannot be trained, calibrated or evaluated on."""


class SpecError(BadInputError):
    """A contract is missing, malformed or of another schema version."""


class ModelFileError(BadInputError):
    """A model file cannot be loaded by its engine."""


class WeightsError(BadInputError):
    """Tensors are missing, unexpected or of another shape than the network's."""


class DivergedError(BadInputError):
    """A training run's loss is not finite any more, with the settings that it was given."""


class BundleError(BadInputError):
    """A bundle is damaged, or nobody who is trusted has signed it."""


class MissingExtraError(EdgexError, ImportError):
    """An engine or a toolchain is not installed."""


class ContractMismatchError(EdgexError, RuntimeError):
    """An artifact does not do what its contract says; `field` names the part that differs."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[object, ...]:
        """By pickle, to another process."""
        return partial(ContractMismatchError, field=self.field), self.args


class StageError(EdgexError, RuntimeError):
    """A conversion stage could not finish."""


class ParityError(EdgexError, RuntimeError):
    """A conversion stage changed the answers by more than its gate allows."""


class AccuracyGateError(EdgexError, RuntimeError):
    """An artifact lost more accuracy than its gate allows, or the images cannot decide it."""


class DeviceUnavailableError(EdgexError, RuntimeError):
    """An accelerator or a board that was asked for is not there."""


class DeployError(EdgexError, RuntimeError):
    """A board did not keep a release; it serves what it served before."""


class SourceLostError(EdgexError, ConnectionError):
    """A camera or stream ended before it should, or never answered."""
