"""The one family of errors that a user can cause, each with a one-line message."""


class Loc2Error(Exception):
    """Base of every error caused by what the user gave; its message is one line.

    The message names the file, field or option and says what to do. The command line prints it
    and exits with code 2.
    """


class InputError(Loc2Error):
    """An image, depth file, manifest, camera or option that cannot be used."""


class DatasetNotFoundError(Loc2Error):
    """A data set, or a part of it, is not where it was looked for."""


class WeightsError(Loc2Error):
    """Weights that are missing, damaged, or of another architecture."""


class OutputError(Loc2Error):
    """An output that cannot be written."""
