"""Open the source behind a storage URI, with the credentials that are mounted for it."""

from contextlib import AbstractAsyncContextManager

from sekisho.depot.settings import SourceEntry
from sekisho.depot.sources.choice import read_credential
from sekisho.depot.sources.listing import Source
from sekisho.depot.sources.objects import open_https, open_s3
from sekisho.depot.sources.oci import open_oci


def open_source(uri: str, entry: SourceEntry, *, expected: str | None) -> AbstractAsyncContextManager[Source]:
    """Open a source for one use.

    Args:
        uri: Below `entry`'s prefix.
        entry: How it is reached.
        expected: Digest that an artifact must have; None where nobody states one.

    Raises:
        RefusedError: CredentialsMissing, or StorageUriInvalid.
    """
    scheme, _, rest = uri.partition("://")
    credential = read_credential(entry, host=rest.partition("/")[0])
    if scheme == "oci":
        return open_oci(uri, entry, credential, expected=expected)
    if scheme == "https":
        return open_https(uri, entry, credential)
    return open_s3(uri, entry, credential)
