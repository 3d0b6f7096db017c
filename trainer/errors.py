"""Exceptions of this package. Each message is one line: what is wrong, where, what to do."""


class DeiTLTError(Exception):
    """Base class of this package's exceptions."""


class SettingError(DeiTLTError):
    """A setting is unknown, or has a value that it cannot have."""


class DataError(DeiTLTError):
    """The data set cannot be trained on as it is."""


class TeacherError(DeiTLTError):
    """The teacher does not fit the student's data."""


class CheckpointError(DeiTLTError):
    """A model folder or checkpoint is missing, incomplete or foreign."""


class UnsafeFileError(CheckpointError):
    """A file that should hold data could run code; it was not loaded."""


class RunError(DeiTLTError):
    """The run itself cannot start, such as an output folder that is not empty."""
