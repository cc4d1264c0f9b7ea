import json
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from sekisho.cli.main import cli
from sekisho.kms.unsafe_development import create_unsafe_key, rotate_unsafe_key
from tests.unit.cli.parts import Bench, build_bench, cli_environment, cli_words, read_refusal, run_cli

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return build_bench(tmp_path)


def test_a_development_key_is_refused_unless_it_is_asked_for_by_name(bench: Bench) -> None:
    done = run_cli([word for word in bench.seal_words() if word != "--allow-unsafe-key"])
    assert done.returncode == 6
    assert read_refusal(done)[0] == "KeyUnsafe"
    assert not bench.out.exists()


def test_a_link_in_the_model_is_refused_because_it_could_lead_out(bench: Bench) -> None:
    (bench.model / "link").symlink_to("/etc/hostname")
    done = run_cli(bench.seal_words())
    assert done.returncode == 3
    reason, message = read_refusal(done)
    assert reason == "SealInvalid"
    assert "is a symbolic link; copy the model with `cp -rL`" in message


@pytest.mark.slow
def test_an_existing_result_is_never_overwritten(bench: Bench) -> None:
    bench.out.mkdir()
    done = run_cli(bench.seal_words())
    assert done.returncode == 3
    assert "exists; name another folder with --out" in read_refusal(done)[1]


@pytest.mark.slow
def test_a_flipped_bit_of_ciphertext_is_found_with_and_without_the_key(bench: Bench) -> None:
    bench.seal()
    with (bench.out / "files" / "00001.sealed").open("r+b") as file:
        file.seek(5_000_000)
        byte = file.read(1)
        file.seek(5_000_000)
        file.write(bytes([byte[0] ^ 1]))
    for done in (bench.verify(), bench.verify_tags()):
        assert done.returncode == 4
        reason, message = read_refusal(done)
        assert reason == "SealBroken"
        assert "model.safetensors" in message


@pytest.mark.slow
def test_an_extra_a_missing_and_a_cut_file_are_found(bench: Bench) -> None:
    bench.seal()
    (bench.out / "files" / "extra").write_text("x")
    assert "files/extra is there and the manifest does not name it" in read_refusal(bench.verify())[1]
    (bench.out / "files" / "extra").unlink()
    os.truncate(bench.out / "files" / "00001.sealed", 10)
    assert "files/00001.sealed has 10 bytes" in read_refusal(bench.verify())[1]
    (bench.out / "files" / "00001.sealed").unlink()
    assert "is missing" in read_refusal(bench.verify())[1]


@pytest.mark.slow
def test_verifying_says_that_signatures_were_not_checked_instead_of_passing(bench: Bench) -> None:
    bench.seal()
    done = run_cli(["verify", str(bench.out), "--json"])
    assert done.returncode == 5
    assert read_refusal(done)[0] == "SignerNotTrusted"


@pytest.mark.slow
def test_another_key_does_not_open_the_model(bench: Bench) -> None:
    bench.seal()
    place = bench.folder / "other" / "owner.json"
    place.parent.mkdir()
    create_unsafe_key(place)
    done = bench.verify("--kms", f"unsafe-development:{place}", "--allow-unsafe-key")
    assert done.returncode == 6
    assert read_refusal(done)[0] == "KeyMismatch"


@pytest.mark.slow
def test_an_unfinished_folder_of_another_version_is_not_taken_over(bench: Bench) -> None:
    bench.seal()
    partial = bench.out.with_name("model.sealed.partial")
    shutil.move(bench.out, partial)
    done = run_cli(bench.seal_words("--version", "8"))
    assert done.returncode == 6
    reason, message = read_refusal(done)
    assert reason == "KeyMismatch"
    assert message.startswith(f"{partial} was begun with another model, version, class or key; name that, or remove it")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--class", "Confidential"), ("--class", "confidential+b+a"), ("--class", "confidential, gdpr"),
        ("--model", "Legal Reviewer\n"), ("--model", ""),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_named_so_is_refused_before_anything_is_read(
    tmp_path: Path, option: str, value: str
) -> None:
    words = {"--class": "confidential", "--model": "legal/reviewer", "--version": "7", "--kms": "openbao:transit/x"}
    given = [part for name, text in (words | {option: value}).items() for part in (name, text)]
    done = CliRunner().invoke(cli, ["seal", str(tmp_path / "nothing"), *given])
    assert done.exit_code == 3
    assert done.stderr.startswith("SealInvalid: the model.")
    assert "a class is written confidential or confidential+gdpr, a name legal/reviewer" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_an_unfinished_folder_of_another_user_is_not_taken_over(bench: Bench) -> None:
    partial = bench.out.with_name("model.sealed.partial")
    partial.mkdir()
    os.chown(partial, 12345, 12345)
    done = run_cli(bench.seal_words())
    assert done.returncode != 0
    assert "is another user's, who could have chosen its key" in read_refusal(done)[1]
    assert list(partial.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_ends_with_advice_and_the_next_run_goes_on(bench: Bench) -> None:
    done = run_cli(bench.seal_words(), limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000)))
    assert done.returncode == 9
    reason, message = read_refusal(done)
    assert reason == "LocalFailure"
    assert "make room and run the same command again" in message
    assert not bench.out.exists()
    assert bench.seal()["kept"] == 1
    assert bench.verify_tags().returncode == 0


@pytest.mark.slow
def test_a_killed_sealing_goes_on_without_using_a_salt_twice(tmp_path: Path) -> None:
    bench = build_bench(tmp_path, big=24_000_000)
    for letter in "bcdefgh":
        shutil.copy(bench.model / "model.safetensors", bench.model / f"{letter}.safetensors")
    partial = bench.out.with_name("model.sealed.partial")
    journal = partial / "sealing.jsonl"
    with subprocess.Popen(cli_words(bench.seal_words()), env=cli_environment(), stderr=subprocess.DEVNULL) as process:
        for _ in range(15000):
            if process.poll() is not None or (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
                break
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -9, "the sealing ended before it could be killed"
    assert not bench.out.exists()
    before = {json.loads(line)["path"]: json.loads(line)["salt"] for line in journal.read_text().splitlines()}
    first, *rest = sorted(before)
    stored = json.loads(journal.read_text().splitlines()[0])["storedAs"]
    with (partial / stored).open("r+b") as file:  # what was finished is believed only if it is still the same
        file.write(b"\0\0\0\0\0\0\0\0")
    sealed = bench.seal()
    assert sealed["kept"] == len(rest)
    after = {file["path"]: file["salt"] for file in json.loads((bench.out / "sekisho.json").read_text())["files"]}
    assert after[first] != before[first]
    assert len(set(after.values())) == len(after)
    assert bench.verify_tags().returncode == 0


@pytest.mark.slow
def test_a_sealed_model_verifies_and_rewraps_without_touching_the_weights(bench: Bench) -> None:
    digest = bench.seal()["digest"]
    assert bench.verify().returncode == 0
    rotate_unsafe_key(bench.folder / "owner.json")
    done = run_cli(["rewrap", str(bench.out), "--kms", bench.kms, "--allow-unsafe-key", "--json"])
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["from"] == facts["to"]) == (0, False)
    assert bench.verify_tags().returncode == 0
    shown = json.loads(run_cli(["inspect", str(bench.out), "--json"]).stdout)
    assert (shown["digest"], shown["files"], shown["verified"]) == (digest, 3, False)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "scan",
        "seal",
        "sign",
        "approve",
        "verify",
        "rewrap",
        "inspect",
        "push",
        "pull",
        "policy",
        "policy test",
        "api-key",
        "explain",
        "seal-resource",
        "collateral",
        "collateral list",
        "collateral export",
        "collateral import",
        "evidence",
        "evidence verify",
        "evidence explain",
        "reference-values",
        "ledger",
        "ledger verify",
        "ledger search",
        "ledger prove",
        "ledger rotate",
        "ledger export",
        "ledger key",
        "ledger witness",
        "ledger witness cosign",
    ],
)
def test_help_is_what_was_agreed(command: str) -> None:
    words = [*command.split(), "--help"]
    shown = CliRunner().invoke(cli, words, prog_name="sekisho", terminal_width=98).stdout  # of 100 columns
    place = GOLDEN / f"{command.replace(' ', '-') or 'sekisho'}.txt"
    if os.environ.get("SEKISHO_WRITE_GOLDEN"):
        place.parent.mkdir(exist_ok=True)
        place.write_text(shown)
    assert shown == place.read_text()
