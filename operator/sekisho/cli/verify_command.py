"""The command `verify`: who signed a sealed model, and whether its bytes are those that were signed."""

from typing import Any

import click

from sekisho.cli.key_services import open_same
from sekisho.cli.progress import open_meter
from sekisho.cli.running import FOLDER, JSON, UNSAFE, run
from sekisho.cli.sealed_folder import open_sealed, unwrap_key, verify_digests, verify_tags
from sekisho.cli.signing import Vouched, read_openssf, read_trust, verify_signatures
from sekisho.cli.signing_commands import TRUST
from sekisho.errors import Reason, RefusedError
from sekisho.seal.trust import VerifiedManifest


def read_vouched(given: dict[str, Any]) -> Vouched | None:
    """Read the signature of model_signing that options name, and verify who made it."""
    if given["openssf"] is None:
        return None
    if given["trust"] is None:
        raise RefusedError(Reason.SIGNER_NOT_TRUSTED, "say whose signature on --openssf counts: --trust FILE")
    return read_openssf(given["openssf"], read_trust(given["trust"]))


@click.command()
@click.argument("folder", type=FOLDER)
@TRUST
@click.option("--kms", metavar="KMS:KEY", help="Unwrap the data key there and open every segment; without it, digests.")
@click.option(
    "--openssf",
    type=FOLDER,
    metavar="MODEL.sig",
    help="With --trust: a signature of model_signing must name the plaintext too.",
)
@click.option(
    "--unsafe-skip-signatures", is_flag=True, help="Check the bytes only; tells nothing about who sealed them."
)
@UNSAFE
@JSON
def verify(**given: Any) -> None:
    """Verify the sealed model in FOLDER; no plaintext is written.

    With --trust: who signed the manifest. Then, without a key: names, sizes and the digest of every ciphertext. With
    --kms: every segment is opened in memory, which proves that key, model, version, class, order and bytes belong
    together.
    """
    run(lambda: _verify(**given), as_json=given["as_json"])


def _verify(**given: Any) -> tuple[dict[str, Any], str]:
    folder, kms = given["folder"], given["kms"]
    verified = _verify_signers(given)
    sealed, meter = open_sealed(folder), open_meter(as_json=given["as_json"])
    if verified is not None and verified.digest != sealed.digest:
        raise RefusedError(Reason.SIGNATURE_INVALID, f"{folder} changed while it was verified; nothing may write to it")
    if (vouched := read_vouched(given)) is not None:
        vouched.check(sealed.manifest)
    if kms is None:
        verify_digests(sealed, meter=meter)
    else:
        keys = open_same(kms, sealed.wrapped.key_id, given["allow_unsafe_key"])
        verify_tags(sealed, unwrap_key(sealed, keys), meter=meter)
    checked = "every tag" if kms else "every digest"
    facts: dict[str, Any] = {"folder": str(folder), "digest": sealed.digest, "checked": checked}
    if verified is None:
        facts["signatures"], told = "skipped", "signatures were not checked"
    else:
        signed_by = sorted(verified.signed_by)
        facts["signedBy"], told = signed_by, f"signed by {', '.join(signed_by)}"
    if vouched is not None:
        facts["openssfSignedBy"] = sorted(vouched.signed_by)
    return facts, f"{folder}: {len(sealed.manifest.files)} files, {checked} holds; {told}"


def _verify_signers(given: dict[str, Any]) -> VerifiedManifest | None:
    if given["unsafe_skip_signatures"]:
        return None
    if given["trust"] is None:
        raise RefusedError(
            Reason.SIGNER_NOT_TRUSTED,
            "say whose signatures count: --trust FILE; bytes alone do not tell who sealed them, "
            "pass --unsafe-skip-signatures to check only those",
        )
    return verify_signatures(given["folder"], read_trust(given["trust"]))
