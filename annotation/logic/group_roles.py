"""What groups of the identity provider may do: the entries of `OIDC_ROLES`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ROLES = ("lead", "reviewer", "annotator")
"""The highest first."""
STAFF = "staff"


@dataclass(frozen=True)
class GroupRole:
    """The role that a group gives in a project; without a project, that its members are staff."""

    group: str
    project: str | None
    role: str


def parse(entries: Iterable[str]) -> list[GroupRole]:
    """Entries such as `labelers=helpfulness:annotator` and `ml-team=staff`.

    Raises:
        ValueError: with the entry, and what it should be.
    """
    found = []
    for entry in filter(None, map(str.strip, entries)):
        group, _, given = (part.strip() for part in entry.rpartition("="))
        project, _, role = given.rpartition(":")
        if not group or (given != STAFF and (not project or role not in ROLES)):
            problem = (
                f"OIDC_ROLES: {entry!r} is neither GROUP=PROJECT:ROLE, where ROLE is one of {', '.join(ROLES)}, nor"
                f" GROUP={STAFF}."
            )
            raise ValueError(problem)  # for who runs the site: in English
        found.append(GroupRole(group, project or None, role or STAFF))
    return found
