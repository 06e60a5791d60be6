"""What can go wrong, sorted by what to do about it.

::

    NightsiftError                 exit code
    ├── UsageError                     2      mend the command line
    ├── ConfigurationError             3      mend a file: configuration, stations, package, archive
    ├── StorageError                   4      nothing can go on until the store answers
    ├── Unreadable                     1      skip this object, keep its reason in the ledger
    └── BadFrame                       -      skip this frame, keep its reason in the ledger
"""

from __future__ import annotations


class NightsiftError(Exception):
    """An error that names the object, what was expected, what was found and the mend.

    Parameters
    ----------
    what
        The object at fault and what is wrong with it.
    expected, found, mend
        Optional further sentences; each is shown on a line of its own.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        mend: str | None = None,
    ) -> None:
        self.what, self.expected, self.found, self.mend = what, expected, found, mend
        parts = (("expected", expected), ("found", found), ("mend", mend))
        lines = [what, *(f"  {name}: {text}" for name, text in parts if text)]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments have to survive the way from a Dask worker to the client.
        return (_rebuild, (type(self), self.what, self.expected, self.found, self.mend))


def _rebuild(
    kind: type[NightsiftError],
    what: str,
    expected: str | None,
    found: str | None,
    mend: str | None,
) -> NightsiftError:
    return kind(what, expected=expected, found=found, mend=mend)


class UsageError(NightsiftError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class ConfigurationError(NightsiftError):
    """A configuration, a stations file, a model package or an archive is refused."""

    exit_code = 3


class StorageError(NightsiftError):
    """A store cannot be reached, refuses the credentials, or cannot be written."""

    exit_code = 4


class Unreadable(NightsiftError):
    """One object of an archive that answers cannot be read."""


class BadFrame(Exception):
    """One frame cannot be used.

    Parameters
    ----------
    reason
        The name under which the ledger counts it: ``corrupt``, ``wrong-size``, …
    detail
        What was expected and found, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason, detail)
