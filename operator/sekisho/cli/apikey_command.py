"""The command `sekisho api-key`: a new key for a caller of the gateway, and what the gateway holds of it."""

import secrets
from datetime import UTC, datetime
from typing import Any

import click

from sekisho.cli.failures import refuse
from sekisho.cli.running import JSON, run
from sekisho.errors import Reason


@click.command("api-key")
@click.argument("name")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group of the caller, as RBAC knows it.")
@click.option("--expires", metavar="TIME", help="When the key ends: 2027-01-01T00:00:00Z. Left out: never.")
@JSON
def api_key(**given: Any) -> None:
    """Make an API key for the caller NAME, whom RBAC then knows as apikey:NAME.

    The key is shown once and kept nowhere. The entry goes into the list "keys" of keys.json, in the Secret that the
    chart's value gateway.identity.apiKeysSecret names; the gateway reads it again within seconds.
    """
    run(lambda: _make(given), as_json=given["as_json"])


def _make(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    from sekisho.access.apikeys import SECRET_BYTES, digest_key, parse_entry, spell_key  # noqa: PLC0415 - loads slowly

    key = spell_key(secrets.token_bytes(SECRET_BYTES))
    if given["expires"] is not None:
        _check_expiry(given["expires"])
    entry = {"name": given["name"], "sha256": digest_key(key), "groups": list(given["groups"])}
    if given["expires"] is not None:
        entry["expiresAt"] = given["expires"]
    parsed = parse_entry(entry)
    spelt = parsed.model_dump_json(by_alias=True, exclude_none=True)
    text = f"Key, shown once:  {key}\nEntry of keys.json:  {spelt}"
    return {"key": key, "entry": parsed.model_dump(by_alias=True, exclude_none=True, mode="json")}, text


def _check_expiry(text: str) -> None:
    try:
        ends = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        message = f'--expires "{text[:64]}" is no time such as 2027-01-01T00:00:00Z'
        raise refuse(message, reason=Reason.INVALID_SPEC) from None
    if ends <= datetime.now(UTC):
        raise refuse(f"--expires {text} has passed; the key would never count", reason=Reason.INVALID_SPEC)
