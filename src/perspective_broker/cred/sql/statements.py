"""The statements of a login in the words of SQLite and of PostgreSQL: read a user, count a failure, forget failures.

They run on the driver itself, see :mod:`.lanes`, so that a login takes one prepared statement each time that it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..attempts import FORGET_AFTER, SOURCE_SECONDS

__all__ = ["POSTGRES", "SQLITE", "Statements"]

#: Rows of failed logins that are kept; the least failures go first. A row is about a hundred bytes.
_MOST_ATTEMPTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Statements:
    """One kind of database's statements.

    Attributes:
        identity: name -> verifier, digest, disabled, service, perspective; a row for each key.
        login: name, fingerprint -> verifier, digest, disabled (each None for an unknown name), failures, their age in
            seconds. Always one row.
        count_name: fingerprint -> failures of a name, this one included (SQLite: nothing).
        count_source: the same of a source, less those that time has forgiven.
        failures: fingerprint -> failures.
        forget: fingerprint -> nothing. The failures of a name are forgotten.
        purge: removes what time has forgiven, and what is too much.
    """

    identity: str
    login: str
    count_name: str
    count_source: str
    failures: str
    forget: str
    purge: str


def _statements(now: str, greatest: str, first: str, second: str, returning: str) -> Statements:
    """Return the statements.

    Args:
        now: the time, in seconds since 1970.
        greatest: the function for the larger of two numbers.
        first, second: the places of arguments.
        returning: lets a count return what it has counted.
    """
    forgiven = f"{greatest}(0.0, {now} - pb_attempt.last) / {SOURCE_SECONDS}"
    left = f"{greatest}(0.0, pb_attempt.failures - {forgiven})"
    again = f"CASE WHEN {now} - pb_attempt.last > {FORGET_AFTER} THEN 0.0 ELSE pb_attempt.failures END"

    def count(before: str) -> str:
        return (
            f"INSERT INTO pb_attempt (fingerprint, failures, last) VALUES ({first}, 1.0, {now})"
            f" ON CONFLICT (fingerprint) DO UPDATE SET failures = {before} + 1.0, last = {now}{returning}"
        )

    return Statements(
        identity="SELECT i.verifier, i.legacy_digest, i.disabled, k.service, k.perspective FROM pb_identity i"
        f" LEFT JOIN pb_key k ON k.identity = i.name WHERE i.name = {first}",
        login="SELECT i.verifier, i.legacy_digest, i.disabled, a.failures,"
        f" {greatest}(0.0, {now} - a.last) FROM (SELECT 1 AS one) one"
        f" LEFT JOIN pb_identity i ON i.name = {first} LEFT JOIN pb_attempt a ON a.fingerprint = {second}",
        count_name=count(again),
        count_source=count(left),
        failures=f"SELECT failures FROM pb_attempt WHERE fingerprint = {first}",
        forget=f"DELETE FROM pb_attempt WHERE fingerprint = {first}",
        purge=f"DELETE FROM pb_attempt WHERE {now} - last > {FORGET_AFTER} OR fingerprint IN (SELECT fingerprint"
        f" FROM pb_attempt ORDER BY failures DESC, last DESC LIMIT {_MOST_ATTEMPTS} OFFSET {_MOST_ATTEMPTS})",
    )


#: SQLite has RETURNING since 3.35, of 2021, and Python may come with an older one.
SQLITE: Final = _statements("((julianday('now') - 2440587.5) * 86400.0)", "max", "?1", "?2", "")
POSTGRES: Final = _statements(
    "extract(epoch from clock_timestamp())::float8", "greatest", "$1", "$2", " RETURNING failures"
)
