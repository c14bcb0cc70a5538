"""Exceptions: one tree, each also a standard-library error, all picklable (Ray pickles what a task raises)."""


class InbolError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(InbolError, ValueError):
    """The configuration is wrong; raised before any actor starts."""


class DataError(InbolError, ValueError):
    """An input file as a whole cannot be read; single bad rows become `rows.Rejected` instead."""


class LeakageError(InbolError, ValueError):
    """Training data holds images or questions of the evaluation; raised before anything is trained."""


class CheckpointError(InbolError, ValueError):
    """A model folder is incomplete or not in the expected layout."""


class MissingInputError(InbolError, FileNotFoundError):
    """A stage was asked for before the stage it reads from has finished."""


class ResourcesError(InbolError, RuntimeError):
    """The cluster can never give a stage what it reserves, or the disk has no room; raised before any actor starts."""


class RowCountError(InbolError, AssertionError):
    """A stage lost or doubled rows: rows in != rows out + rejected."""


class TrainingDivergedError(InbolError, ArithmeticError):
    """The loss became NaN or infinite."""


class EngineError(InbolError, RuntimeError):
    """Engines died more often than the configuration allows, or cannot be started."""


class EndpointError(InbolError, ConnectionError):
    """A model's server refuses to work with us (key, model, address), or gave no reply however often it was asked."""
