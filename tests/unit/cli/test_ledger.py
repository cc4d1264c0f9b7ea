"""`sekisho ledger`: what was cut, rewritten, forked or signed by another is refused; then what the officer sees."""

import asyncio
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sekisho.cli.main import cli
from sekisho.cli.progress import Lines
from sekisho.ledger.merkle import hash_leaf
from sekisho.ledger.notes import NoteKey
from sekisho.ledger.receipt import Written, batch_of, sign_batch
from sekisho.recording.journal import JOURNAL, Line
from sekisho.recording.keeper import seal
from sekisho.recording.record import Identity, Record, RecordLimits
from tests.unit.ledger.trees import SECRET, WITNESS, Log, log_key, opened, public, spell, witness_key

WRITER = "sekisho/legal/gateway"
POD = f"{WRITER}/gateway-0"
PEM = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def request(number: int, **fields: Any) -> bytes:
    at = f"2026-10-{1 + number % 28:02d}T00:00:00.000+00:00"
    backend = {"site": "tokyo-closed", "tier": "Closed", "evidenceAgeSeconds": 3000 + number}
    entry = {
        "at": at, "kind": "request", "id": f"r-{number}", "decision": "relayed", "class": "confidential.gdpr",
        "model": "legal/contract-review", "caller": {"username": "app"}, "backend": backend,
    }  # fmt: skip
    return spell(**{**entry, **fields})


BEGIN = spell(kind="opened", at="2026-10-01T00:00:00.000+00:00")
ENTRIES = [BEGIN, *(request(number) for number in range(1, 300))]


def receipt_of(entry: Written, key: NoteKey, secret: Ed25519PrivateKey = SECRET) -> bytes:
    return sign_batch(batch_of(entry), key, secret.sign, at=1).receipt(entry).encode().encode()


class Desk:
    """A compliance officer's folder: logs, keys, and what was kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.key = self.write("ledger.pub", f"{log_key(WRITER).encode()}\n".encode())
        self.witness = self.write("witness.pub", f"{witness_key().encode()}\n".encode())
        self.witness_pem = self.write("witness.pem", WITNESS.private_bytes(*PEM))

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def lay(self, entries: Sequence[bytes] = tuple(ENTRIES), *, name: str = "20261001T000000000Z", **how: Any) -> Log:
        """Lay a log's files into the folder, in place of one of that name."""
        log = Log(list(entries), origin=f"{POD}/{name}", **how)
        shutil.rmtree(self.logs / name, ignore_errors=True)
        for path, data in log.files.items():
            self.write(f"logs/{name}/{path}", data)
        return log

    def run(self, *words: object) -> Result:
        return CliRunner().invoke(cli, ["ledger", *map(str, words)])

    def verify(self, *words: object, source: Path | None = None) -> Result:
        return self.run("verify", source or self.logs, "--key", self.key, *words)

    def refused(self, reason: str, *words: object, code: int = 4, source: Path | None = None) -> str:
        result = self.verify(*words, source=source)
        *_, message = result.stderr.splitlines()  # progress may stand above
        assert (result.exit_code, message.partition(":")[0]) == (code, reason), result.output
        return message

    def checkpoint(self, log: Log, name: str = "kept") -> Path:
        return self.write(name, log.files["checkpoint"])

    def cosign(self, since: int, *, out: str = "cosigned", state: str = "state.json") -> Result:
        made = self.run("prove", self.logs, "--key", self.key, "--since", since, "-o", self.folder / "request")
        assert made.exit_code == 0, made.output
        return self.run(
            "witness", "cosign", self.folder / "request", "--log-key", self.key, "--key", self.witness_pem, "--name",
            "witness.example/a", "--state", self.folder / state, "-o", self.folder / out,
        )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_folder_without_logs_and_a_file_that_is_no_export_are_refused(desk: Desk) -> None:
    desk.logs.mkdir()
    assert "holds no log: no file checkpoint is in it" in desk.refused("RecordBroken")
    assert "is no folder and no export (tar)" in desk.refused("RecordBroken", source=desk.key)


def test_another_key_is_refused(desk: Desk) -> None:
    desk.lay(secret=WITNESS)
    message = desk.refused("SignerNotTrusted", code=5)
    assert f"no signature is by {POD}/20261001T000000000Z" in message
    desk.write("ledger.pub", log_key("sekisho/other").encode().encode())
    assert "no key was given for the log" in desk.refused("SignerNotTrusted", code=5)
    assert "there are keys of sekisho/other" in desk.refused("SignerNotTrusted", code=5)


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 9, witness_key().encode().encode(), b"x" * 70_000])
def test_what_is_no_key_of_a_log_is_refused(desk: Desk, data: bytes) -> None:
    desk.lay()
    desk.key.write_bytes(data)
    assert str(desk.key) in desk.refused("KeyMismatch", code=6)


def test_a_changed_entry_is_told_as_rewritten(desk: Desk) -> None:
    desk.lay()
    path = desk.logs / "20261001T000000000Z/tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b'"r-77"', b'"r-78"'))
    assert "tile/0/000 does not have the hashes of the 256 entries" in desk.refused("RecordRewritten")


def test_a_cut_end_is_told_as_truncated(desk: Desk) -> None:
    log = desk.lay()
    for path in log.files:
        if ".p/" in path:
            (desk.logs / "20261001T000000000Z" / path).unlink()
    assert "lacks its entries from 256 on, and their hashes: 300 were signed" in desk.refused("RecordTruncated")


def test_a_log_that_was_cut_and_signed_again_shows_by_what_was_kept(desk: Desk) -> None:
    kept = desk.checkpoint(desk.lay())
    whole = desk.lay()
    desk.lay(ENTRIES[:290])
    message = desk.refused("RecordTruncated", "--checkpoint", kept)
    assert "ends with entry 290; a checkpoint of 300 entries was signed before" in message
    entry = Written(whole.origin, 295, hash_leaf(ENTRIES[295]))
    receipt = desk.write("receipt", receipt_of(entry, whole.key))
    assert "a receipt was given for entry 295" in desk.refused("RecordTruncated", "--receipt", receipt)
    assert "what was cut off and signed anew would not show" in desk.verify().output


def test_another_history_shows_as_a_fork_by_what_was_kept(desk: Desk) -> None:
    log = desk.lay()
    kept = desk.checkpoint(log)
    entry = Written(log.origin, 7, hash_leaf(ENTRIES[7]))
    receipt = desk.write("receipt", receipt_of(entry, log.key))
    desk.lay([*ENTRIES[:7], request(999), *ENTRIES[8:]])
    message = desk.refused("RecordForked", "--checkpoint", kept)
    assert "its first 300 entries are not those of a checkpoint that was signed before" in message
    assert "entry 7 of" in desk.refused("RecordRewritten", "--receipt", receipt)


def test_of_two_receipts_for_one_place_none_hides_the_other(desk: Desk) -> None:
    log = desk.lay()
    one, other = (
        desk.write(f"receipt-{number}", receipt_of(Written(log.origin, 7, hash_leaf(entry)), log.key))
        for number, entry in enumerate((ENTRIES[7], request(999)))
    )
    for words in (("--receipt", one, "--receipt", other), ("--receipt", other, "--receipt", one)):
        assert "entry 7 of" in desk.refused("RecordRewritten", *words)


def test_a_log_that_is_not_here_shows_by_what_was_kept(desk: Desk) -> None:
    log = desk.lay(name="20260901T000000000Z")
    kept = desk.checkpoint(log)
    entry = Written(log.origin, 7, hash_leaf(ENTRIES[7]))
    receipt = desk.write("receipt", receipt_of(entry, log.key))
    shutil.rmtree(desk.logs)
    desk.lay()
    assert "which is not here" in desk.refused("RecordTruncated", "--checkpoint", kept)
    assert "which is not here" in desk.refused("RecordTruncated", "--receipt", receipt)


def test_a_missing_log_between_two_is_told_as_truncated(desk: Desk) -> None:
    first = desk.lay(name="20261001T000000000Z")
    second = desk.lay([opened(first.head), *ENTRIES[1:5]], name="20261002T000000000Z")
    desk.lay([opened(second.head), *ENTRIES[1:5]], name="20261003T000000000Z")
    shutil.rmtree(desk.logs / "20261002T000000000Z")
    assert "is missing (5 entries);" in desk.refused("RecordTruncated")
    shutil.rmtree(desk.logs / "20261001T000000000Z")
    assert f"goes on from {second.origin} (5 records), which is not here" in desk.verify().output


def test_a_receipt_or_checkpoint_of_another_key_is_refused(desk: Desk) -> None:
    log = desk.lay()
    entry = Written(log.origin, 7, hash_leaf(ENTRIES[7]))
    receipt = desk.write("receipt", receipt_of(entry, log.key, WITNESS))
    assert "the receipt was not signed by" in desk.refused("SignatureInvalid", "--receipt", receipt, code=5)
    receipt.write_bytes(b"v1")
    assert "this is no receipt" in desk.refused("SignatureInvalid", "--receipt", receipt, code=5)
    forged = desk.checkpoint(Log(ENTRIES, origin=log.origin, secret=WITNESS))
    desk.refused("SignerNotTrusted", "--checkpoint", forged, code=5)


def test_a_witness_that_cosigned_nothing_is_missed(desk: Desk) -> None:
    desk.lay()
    message = desk.refused("SignatureMissing", "--witness", desk.witness, code=5)
    assert f"witness.example/a cosigned no checkpoint of {POD} that is here" in message
    assert desk.cosign(0).exit_code == 0
    cosigned = desk.folder / "cosigned"
    desk.write("other.pub", witness_key("witness.example/b").encode().encode())
    desk.refused(
        "SignatureMissing", "--checkpoint", cosigned, "--witness", desk.witness, "--witness", desk.folder / "other.pub",
        code=5,
    )  # fmt: skip
    cosigned.write_bytes(cosigned.read_bytes()[:-12] + b"AAAAAAAAAA=\n"[-12:])
    desk.refused("SignatureInvalid", "--checkpoint", cosigned, "--witness", desk.witness, code=5)


def test_a_witness_refuses_what_was_cut_or_forked_and_remembers_what_it_saw(desk: Desk) -> None:
    desk.lay(ENTRIES[:100])
    assert desk.cosign(0).exit_code == 0
    desk.lay(ENTRIES[:90])
    result = desk.cosign(90)
    assert (result.exit_code, result.stderr.partition(":")[0]) == (4, "RecordTruncated")
    desk.lay([*ENTRIES[:50], *ENTRIES[60:200]])
    result = desk.cosign(100)
    assert (result.exit_code, result.stderr.partition(":")[0]) == (4, "RecordForked")
    desk.lay()
    result = desk.cosign(90)
    assert "the proof begins at 90 entries, this witness has seen 100" in result.stderr
    assert desk.cosign(100).exit_code == 0
    assert json.loads((desk.folder / "state.json").read_text())[f"{POD}/20261001T000000000Z"]["size"] == 300
    (desk.folder / "state.json").write_text('{"x": {"size": 1}}')
    assert "without it a witness may vouch for a fork" in desk.cosign(300).stderr
    desk.write("witness.pem", generate_private_key(SECP256R1()).private_bytes(*PEM))
    assert "is no Ed25519 private key in PEM without a passphrase" in desk.cosign(300).stderr


def test_a_log_verifies_with_its_witness_and_receipts_as_the_officer_sees_it(desk: Desk) -> None:
    log = desk.lay(ENTRIES[:200])
    assert desk.cosign(0, out="early").exit_code == 0
    desk.lay()
    vouched = ["--witness", desk.witness, "--checkpoint", desk.folder / "early"]
    result = desk.verify(*vouched)
    assert f"witness.example/a vouches for {POD} up to record 200 of {log.origin}" in result.output
    assert desk.cosign(200).exit_code == 0
    entry = Written(log.origin, 7, hash_leaf(ENTRIES[7]))
    receipt = desk.write("receipt", receipt_of(entry, log.key))
    result = desk.verify(*vouched, "--checkpoint", desk.folder / "cosigned", "--receipt", receipt)
    assert result.stdout == (
        "300 records, 2026-10-01 to 2026-10-20, one unforked log, checkpoint cosigned by 1 witness, 1 receipt kept\n"
    )
    told = json.loads(desk.verify(*vouched, "--json").stdout)
    assert (told["records"], told["writers"][0]["cosigned"]["witness.example/a"]["records"]) == (300, 200)


def test_a_bare_public_key_counts_for_logs_of_any_name(desk: Desk) -> None:
    desk.lay()
    desk.key.write_bytes(SECRET.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert desk.verify().exit_code == 0
    desk.key.write_bytes(
        generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    assert "is no Ed25519 public key in PEM" in desk.refused("KeyMismatch", code=6)


def test_verifier_keys_are_spelt_from_pem(desk: Desk) -> None:
    named = desk.run("key", desk.witness_pem, "--name", "witness.example/a", "--witness")
    assert named.stdout.strip() == witness_key().encode()
    desk.write("pem", SECRET.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert desk.run("key", desk.folder / "pem", "--name", WRITER).stdout.strip() == log_key(WRITER).encode()
    assert desk.run("key", desk.folder / "pem", "--name", "a b").exit_code == 3


def test_a_log_that_is_being_written_is_read_from_its_journal(desk: Desk) -> None:
    desk.lay()
    place = desk.logs / "20261001T000000000Z"
    shutil.rmtree(place / "tile")
    (place / JOURNAL).write_bytes(b"".join(Line.of(entry).encode() for entry in (*ENTRIES, request(300))))
    assert desk.verify().stdout.startswith("300 records, ")
    (place / JOURNAL).write_bytes(b"".join(Line.of(entry).encode() for entry in ENTRIES[:-1]))
    desk.refused("RecordTruncated")


def export(desk: Desk, name: str, *words: object) -> Path:
    result = desk.run("export", desk.logs, "--key", desk.key, "-o", desk.folder / name, *words)
    assert result.exit_code == 0, result.output
    return desk.folder / name


@pytest.mark.parametrize("name", ["ledger.tar", "ledger"])
def test_an_export_verifies_with_all_that_was_cosigned(desk: Desk, name: str) -> None:
    first = desk.lay()
    desk.lay([opened(first.head), *ENTRIES[1:5]], name="20261002T000000000Z")
    assert desk.cosign(0).exit_code == 0
    out = export(desk, name, "--cosigned", desk.folder / "cosigned")
    shutil.rmtree(desk.logs)
    result = desk.verify("--witness", desk.witness, source=out)
    assert result.stdout == (
        "305 records, 2026-10-01 to 2026-10-20, 2 logs of 1 writer, unforked, checkpoint cosigned by 1 witness\n"
    )
    again = desk.run("export", out, "--key", desk.key, "-o", out)
    assert (again.exit_code, "is there already" in again.stderr) == (3, True)


async def test_an_export_holds_what_was_verified_while_its_writer_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(
        desk.folder, Identity("gateway-0", WRITER), limits=RecordLimits(segment_bytes=1500, commit_seconds=60)
    )
    record.open()
    await record.append({"kind": "x"})
    await record.checkpoint()
    (first,) = desk.logs.iterdir()

    class Busy(Lines):
        """Lets the writer go on, and seal its first log, between the looks of an export."""

        def start(self, label: str, total: int) -> None:
            super().start(label, total)
            if label == "exporting":
                loop.run_until_complete(write())
                seal(first)

    async def write() -> None:
        for _ in range(20):
            await record.append({"kind": "x"})
        await record.checkpoint()

    loop = asyncio.new_event_loop()
    monkeypatch.setattr("sekisho.cli.ledger_proving.open_meter", Busy)
    words = ("export", desk.logs, "--key", desk.folder / "log.pub", "-o", desk.folder / "out.tar")
    try:
        done = await asyncio.to_thread(desk.run, *words)
    finally:
        loop.close()
        await record.close()
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("out.tar: 2 records in 1 log\n")
    assert len(list(desk.logs.iterdir())) > 1
    verified = desk.run("verify", desk.folder / "out.tar", "--key", desk.folder / "log.pub")
    assert verified.stdout.startswith("2 records")


def test_an_export_holds_nothing_of_one_that_was_interrupted(desk: Desk) -> None:
    desk.lay()
    desk.write("out.partial/elsewhere/checkpoint", b"of another log")
    done = desk.run("export", desk.logs, "--key", desk.key, "-o", desk.folder / "out")
    assert done.exit_code == 0
    assert [path.name for path in (desk.folder / "out").iterdir()] == ["sekisho"]
    assert desk.verify(source=desk.folder / "out").exit_code == 0


def test_an_export_of_what_does_not_verify_is_not_written(desk: Desk) -> None:
    desk.lay()
    path = desk.logs / "20261001T000000000Z/tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b'"r-77"', b'"r-78"'))
    result = desk.run("export", desk.logs, "--key", desk.key, "-o", desk.folder / "out.tar")
    assert result.exit_code == 4
    assert not list(desk.folder.glob("out*"))


def test_a_file_that_is_far_too_large_is_not_read(desk: Desk) -> None:
    desk.lay()
    with (desk.logs / "20261001T000000000Z/tile/entries/000").open("r+b") as file:
        file.truncate((1 << 30) + 1)
    assert "has 1073741825 bytes, 1073741824 are allowed" in desk.refused("RecordBroken")


def test_an_export_that_was_changed_is_refused(desk: Desk) -> None:
    desk.lay()
    out = export(desk, "ledger.tar")
    out.write_bytes(out.read_bytes().replace(b'"r-77"', b'"r-78"'))
    desk.refused("RecordRewritten", source=out)
    with tarfile.open(desk.folder / "bare.tar", "w"):
        pass
    assert "holds no log" in desk.refused("RecordBroken", source=desk.folder / "bare.tar")


def prove(desk: Desk, *words: object) -> Result:
    return desk.run("prove", desk.logs, "--key", desk.key, "-o", desk.folder / "out.tlog-proof", *words)


def test_what_cannot_be_proven_is_refused(desk: Desk) -> None:
    log = desk.lay()
    for words, message in (
        ((), "say what to prove: one of --index, --id, --receipt and --since"),
        (("--index", 1, "--since", 2), "say what to prove: one of"),
        (("--index", 300), "has 300 entries under its checkpoint; there is no entry 300"),
        (("--since", 301), "has 300 entries; a witness that saw 301 saw what is cut off"),
        (("--id", "nobody"), "no entry has the id 'nobody'"),
        (("--index", 1, "--log", "other"), "the log other is not here"),
    ):
        result = prove(desk, *words)
        assert result.exit_code in {3, 4}
        assert message in result.stderr
    path = desk.logs / "20261001T000000000Z/tile/0/000"
    path.write_bytes(bytes(8192))
    assert "the proof does not lead from entry 1 to the root" in prove(desk, "--index", 1).stderr
    upper = desk.logs / "20261001T000000000Z/tile/1/000.p/1"
    upper.write_bytes(bytes(32))
    assert "do not make the root that was signed" in prove(desk, "--index", 1).stderr
    upper.write_bytes(log.files["tile/1/000.p/1"])
    shutil.rmtree(desk.logs / "20261001T000000000Z/tile/entries")
    path.write_bytes(log.files["tile/0/000"])
    assert "the text of entry 1 was removed by retention" in prove(desk, "--index", 1).stderr
    other = Log([BEGIN], origin="sekisho/legal/gateway/gateway-1/20261001T000000000Z")
    for name, data in other.files.items():
        desk.write(f"logs/other/{name}", data)
    assert "there are logs of 2 writers; name one by --log, such as sekisho/" in prove(desk, "--index", 1).stderr


def test_a_proof_is_verified_with_the_key_alone(desk: Desk) -> None:
    log = desk.lay()
    entry = Written(log.origin, 77, hash_leaf(ENTRIES[77]))
    receipt = desk.write("receipt", receipt_of(entry, log.key))
    for words in (("--id", "r-77"), ("--index", 77), ("--receipt", receipt)):
        assert prove(desk, *words).exit_code == 0
        shown = desk.verify(source=desk.folder / "out.tlog-proof")
        assert shown.stdout.startswith(f"entry 77 of 300 of {log.origin}:\n")
        assert '"id":"r-77"' in shown.stdout
    proof = desk.folder / "out.tlog-proof"
    message = desk.refused("SignatureMissing", "--witness", desk.witness, code=5, source=proof)
    assert "witness.example/a did not cosign the checkpoint of this proof" in message
    lines = proof.read_bytes().split(b"\n")
    lines[1] = lines[1][:20] + (b"A" if lines[1][20:21] != b"A" else b"B") + lines[1][21:]
    proof.write_bytes(b"\n".join(lines))
    desk.refused("RecordBroken", source=proof)


def search(desk: Desk, *words: object) -> Result:
    return desk.run("search", desk.logs, "--key", desk.key, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--class", "secret"), "'secret' is none of the levels public, internal, confidential, restricted"),
        (("--since", "soon"), "--since: 'soon' is no time"),
    ],
)
def test_a_filter_that_cannot_be_understood_is_refused(desk: Desk, words: Sequence[str], message: str) -> None:
    desk.lay()
    result = search(desk, *words)
    assert result.exit_code == 3
    assert message in result.stderr


def test_nothing_is_told_of_a_log_that_does_not_verify(desk: Desk) -> None:
    desk.lay()
    path = desk.logs / "20261001T000000000Z/tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b'"r-77"', b'"r-78"'))
    result = search(desk)
    assert (result.exit_code, result.stdout) == (4, "")


def test_nothing_left_the_closed_network_and_that_is_proven(desk: Desk) -> None:
    desk.lay([BEGIN, request(1), request(600), request(3, **{"class": "public"}), request(4, decision="refused")])
    result = search(desk, "--class", ">=confidential", "--left-closed-network")
    assert result.stdout == (
        "none. (proof: all 5 records examined; 3 of class confidential or above; 2 served at a Closed site with "
        "evidence of at most 3,600 s)\n"
    )


def test_what_left_is_shown_and_what_cannot_be_told_is_counted(desk: Desk) -> None:
    outside = {"site": "managed-api", "tier": "ManagedApi"}
    desk.lay([
        BEGIN, request(1, backend=outside), request(2, backend=None), request(3, **{"class": "unheard-of"}),
        request(4, backend={"site": "tokyo-closed", "tier": "Closed"}), request(5),
    ])  # fmt: skip
    result = search(desk, "--class", ">=confidential", "--left-closed-network")
    hit, proof = result.stdout.splitlines()
    assert hit == (
        "2026-10-02T00:00:00.000+00:00  request  relayed  confidential.gdpr  legal/contract-review  app  "
        f"managed-api (ManagedApi)  {POD}/20261001T000000000Z#1"
    )
    assert proof == (
        "1 found. (proof: all 6 records examined; 4 of class confidential or above; 2 served at a Closed site; of 1 it "
        "cannot be told: their entries name no tier; 1 are of a level that --levels does not name)"
    )
    told = json.loads(search(desk, "--left-closed-network", "--json").stdout)
    assert (told["hits"], told["unknown"], told["entries"][0]["index"]) == (1, 1, 1)


def test_entries_of_several_replicas_are_shown_in_the_order_of_time(desk: Desk) -> None:
    places = []
    for pod in range(3):
        at = [f"2026-10-01T00:00:{number * 3 + pod:02d}.000+00:00" for number in range(5)]
        entries = [request(number, id=f"r{time[17:19]}", at=time) for number, time in enumerate(at)]
        log = Log(entries, origin=f"{WRITER}/gateway-{2 - pod}/20261001T000000000Z")
        places.append(desk.folder / f"pod-{pod}")
        for path, data in log.files.items():
            desk.write(f"pod-{pod}/{path}", data)
    told = json.loads(desk.run("search", *places, "--key", desk.key, "--json").stdout)
    assert [hit["entry"]["id"] for hit in told["entries"]] == [f"r{number:02d}" for number in range(15)]
    few = json.loads(desk.run("search", *places, "--key", desk.key, "--json", "--limit", 3).stdout)
    assert ([hit["entry"]["id"] for hit in few["entries"]], few["hits"]) == (["r00", "r01", "r02"], 15)


def test_a_word_that_stands_nowhere_is_told_since_it_may_be_misspelt(desk: Desk) -> None:
    desk.lay(ENTRIES[:3])
    said = search(desk, "--decision", "relayd", "--service", "legal/contract-reviw").stdout
    assert said == (
        "none. (proof: all 3 records examined; none that was examined has the decision 'relayd', there are relayed; "
        "none that was examined has the service 'legal/contract-reviw', there are legal/contract-review)\n"
    )
    assert search(desk, "--decision", "relayed", "--until", "2020-01-01").stdout == (
        "none. (proof: all 3 records examined)\n"
    )
    desk.lay([BEGIN])
    assert (
        "none that was examined has the decision 'relayed', there are none"
        in search(desk, "--decision", "relayed").stdout
    )


def test_progress_ends_with_all_that_there_was(desk: Desk) -> None:
    desk.lay()
    for words in (("verify", desk.logs), ("export", desk.logs, "-o", desk.folder / "ledger.tar")):
        told = [json.loads(line) for line in desk.run(*words, "--key", desk.key, "--json").stderr.splitlines()]
        assert [item["doneBytes"] / item["totalBytes"] for item in told] == [1.0] * len(told)
        assert told[-1]["totalBytes"] > 0


def test_what_an_entry_does_not_say_is_shown_as_a_dash(desk: Desk) -> None:
    desk.lay([BEGIN, request(1, **{"class": None, "model": None, "backend": None})])
    shown = search(desk, "--decision", "relayed").stdout.splitlines()[0]
    assert shown == f"2026-10-02T00:00:00.000+00:00  request  relayed  -  -  app  -  {POD}/20261001T000000000Z#1"


def test_entries_are_found_by_service_time_decision_and_exact_class(desk: Desk) -> None:
    desk.lay([*ENTRIES, request(1, model="web/faq", decision="refused"), spell(kind="x", at="never")])
    assert "300 found" in search(desk, "--decision", "relayed", "--limit", 1).stdout.replace("299", "300")
    assert "… and 298 more; see --limit" in search(desk, "--decision", "relayed", "--limit", 1).stdout
    assert "1 found." in search(desk, "--service", "web/faq").stdout
    assert "300 of class confidential+gdpr" in search(desk, "--class", "confidential+gdpr").stdout
    assert "none. (proof: all 302 records examined; 0 of class confidential)" in (
        search(desk, "--class", "confidential").stdout
    )
    told = json.loads(search(desk, "--since", "2026-10-02", "--until", "2026-10-03T00:00:00Z", "--json").stdout)
    assert {item["entry"]["at"][:10] for item in told["entries"]} == {"2026-10-02"}


def test_what_retention_removed_is_told_as_not_examined(desk: Desk) -> None:
    first = desk.lay()
    desk.lay([opened(first.head), spell(kind="expired", log=first.origin)], name="20261002T000000000Z")
    place = desk.logs / "20261001T000000000Z"
    shutil.rmtree(place / "tile/entries")
    (place / "first").write_bytes(BEGIN)
    assert (
        "none. (proof: 2 records examined; 300 could not be: retention removed their text; none that was examined has"
        in (search(desk, "--service", "x").stdout)
    )
    assert "the text of 300 records was removed by retention; their hashes hold" in desk.verify().stdout


def test_several_beginnings_are_told(desk: Desk) -> None:
    desk.lay()
    desk.lay(name="20261002T000000000Z")
    assert f"{POD} begins 2 times: what its pod had before a new beginning shows nowhere" in desk.verify().stdout


def test_keys_of_these_tests_are_no_secrets_of_anybody() -> None:
    assert public(Ed25519PrivateKey.from_private_bytes(bytes(range(32)))) == public(SECRET)
