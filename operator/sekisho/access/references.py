"""How API objects name callers: the words of a UserRef that mean one who asks. Pure."""

from collections.abc import Iterable
from typing import Final

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


def list_references(username: str, groups: Iterable[str]) -> frozenset[str]:
    """Return every UserRef that means a caller, by the names that RBAC knows it by."""
    names = {f"user:{username}", *(f"group:{group}" for group in groups)}
    namespace, _, account = username.removeprefix(_SERVICE_ACCOUNT).partition(":")
    if username.startswith(_SERVICE_ACCOUNT) and account:
        names.add(f"serviceaccount:{namespace}:{account}")
    return frozenset(names)
