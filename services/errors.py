"""Every error the services raise on purpose. The docstring of a class is what the error means.

They share the core's base class, so one table maps both to HTTP statuses and exit codes.
"""

from __future__ import annotations

from icss_core.errors import IcssError


class ConfigurationError(IcssError):
    """A setting is missing or wrong; the message names its environment variable."""


class UriNotAllowedError(IcssError):
    """The address is outside the object store prefixes this service may touch, or malformed."""


class MalformedUriError(UriNotAllowedError):
    """The address is not one of an object: not s3://bucket/key, or with characters that could mislead."""


class StorageError(IcssError):
    """The object store refused the operation or did not answer after retries."""


class StorageUnavailableError(StorageError):
    """The object store did not answer, or fails itself; the same operation may succeed in a moment."""


class ObjectNotFoundError(StorageError):
    """The object store has no object at this address."""


class TrackingError(IcssError):
    """The MLflow server refused the operation or did not answer."""


class TrackingUnavailableError(TrackingError):
    """The MLflow server did not answer, or fails itself; the same call may succeed in a moment."""


class ModelNotFoundError(IcssError):
    """No model is registered under this name."""


class VersionNotFoundError(IcssError):
    """The model has no such version, or no version carries this alias."""


class ConflictError(IcssError):
    """Somebody else changed what this request was based on; read again, then decide."""


class LostOwnershipError(ConflictError):
    """Another process has taken over this work, as this one gave no sign of life; it must write no more."""


class UpdateNotFoundError(IcssError):
    """No update has this id."""


class MapsNotFoundError(IcssError):
    """No mapping job has this id."""


class NoJobsError(IcssError):
    """This service knows no cluster that would carry a job out; its operator has to name one."""


class ImageChangedError(IcssError):
    """The image is not the one for which the update was accepted: it has been overwritten since."""


class OutdatedRecordError(IcssError):
    """Another version of the service wrote the record, and this one cannot do exactly what it says."""


class UploadNotFoundError(IcssError):
    """No uploaded image has this id, or it has expired."""


class UnauthorisedError(IcssError):
    """The request carries no valid token."""


class BodyTooLargeError(IcssError):
    """The request's body is larger than this service accepts."""


class BusyError(IcssError):
    """The service has as much work as it takes at once; try again later."""


class UnavailableError(IcssError):
    """The part that computes is down or restarting; ask again in a moment. Nothing accepted is lost."""


class TrainingError(IcssError):
    """A training job ended without a model; the message carries the worker's own words."""


class MappingError(IcssError):
    """A mapping job cannot go on: its workers do not start, or their process dies again and again."""


class StackError(IcssError):
    """A local service did not start, or died; the message quotes the end of its log."""


_PASSING = (BusyError, LostOwnershipError, MappingError, StorageError, TrackingError, TrainingError)


def may_pass(error: BaseException) -> bool:
    """Whether the same may go well later: a server was away, memory ran out, a machine died.

    Our own errors are about what was asked, with these few exceptions: doing the same again ends the same.
    """
    if isinstance(error, ObjectNotFoundError):
        return False
    return not isinstance(error, IcssError) or isinstance(error, _PASSING)
