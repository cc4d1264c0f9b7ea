"""What holds for one key service alone."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kms.aws import AwsSettings
from sekisho.kms.choose import open_key_service, parse_key_address, read_key_settings
from sekisho.kms.openbao import OpenBaoSettings, OpenBaoTransit
from sekisho.kms.openbao_login import AppRoleLogin, KubernetesLogin, Login, TokenFile
from sekisho.kms.pkcs11 import Pkcs11Keys, Pkcs11Settings
from sekisho.kms.unsafe_development import (
    UnsafeDevelopmentKeys,
    UnsafeDevelopmentSettings,
    create_unsafe_key,
)
from sekisho.seal.keys import KeyContext
from tests.contract.kms.benches import Bao, Hsm, fresh
from tests.contract.kms.conftest import aws_bench, gcp_bench
from tests.unit.depot.parts import FileServer, serve_files

CONTEXT = KeyContext("contract-reviewer", 3, "confidential")
DATA_KEY = os.urandom(32)
POLICY = 'path "transit/*" { capabilities = ["read", "update"] }'


def transit(bao: Bao, login: Login, **settings: object) -> OpenBaoTransit:
    return OpenBaoTransit(OpenBaoSettings(address=bao.address, login=login, **settings))  # type: ignore[arg-type]


# --- the development key


def test_production_settings_refuse_the_development_key(tmp_path: Path) -> None:
    create_unsafe_key(tmp_path / "laptop.json")
    with pytest.raises(RefusedError, match="unsafe-development key 'laptop' is unsafe: it is a file") as caught:
        UnsafeDevelopmentKeys(UnsafeDevelopmentSettings(file=tmp_path / "laptop.json"))
    assert caught.value.reason is Reason.KEY_UNSAFE
    with pytest.raises(RefusedError, match="is unsafe"):
        open_key_service(f"unsafe-development:{tmp_path / 'laptop.json'}", {})


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"enabled":1,"minimumVersion":1,"versions":{"1":"00"}}', "\x00"])
def test_a_file_that_is_no_key_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "laptop.json"
    file.write_text(text)
    keys = UnsafeDevelopmentKeys(UnsafeDevelopmentSettings(file=file, allow_unsafe=True))
    with pytest.raises(UnavailableError, match="is not a file of development keys"):
        keys.describe("laptop")


def test_a_development_key_is_for_one_user_and_never_replaced(tmp_path: Path) -> None:
    create_unsafe_key(tmp_path / "laptop.json")
    assert (tmp_path / "laptop.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create_unsafe_key(tmp_path / "laptop.json")


# --- addresses


@pytest.mark.parametrize("text", ["", "openbao", "openbao:", "file:key", "transit/legal", "aws:" + "x" * 600])
def test_an_address_without_service_or_key_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="must begin with one of openbao:, pkcs11:, aws:") as caught:
        parse_key_address(text)
    assert caught.value.reason is Reason.KEY_NOT_FOUND


@pytest.mark.parametrize(
    ("address", "variable"),
    [("openbao:transit/legal", "BAO_ADDR"), ("pkcs11:legal", "SEKISHO_PKCS11_MODULE")],
)
def test_a_missing_variable_is_named(address: str, variable: str) -> None:
    with pytest.raises(RefusedError, match=f"set {variable}"):
        open_key_service(address, {})


@pytest.mark.parametrize("address", ["http://bao.example:8200", "ftp://bao", "https://", "bao:8200", ""])
def test_an_address_in_the_clear_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(UnavailableError, match="must begin with https://"):
        OpenBaoTransit(OpenBaoSettings(address=address, login=TokenFile(tmp_path / "token")))


def test_an_address_is_completed_from_the_environment() -> None:
    bao = read_key_settings(
        parse_key_address("openbao:transit/legal"),
        {"BAO_ADDR": "https://bao:8200", "VAULT_NAMESPACE": "legal", "SEKISHO_BAO_ROLE": "broker"}, minimum_version=4,
    )  # fmt: skip
    assert isinstance(bao, OpenBaoSettings)
    assert (bao.namespace, bao.minimum_version, bao.allow_unsafe) == ("legal", 4, False)
    assert isinstance(bao.login, KubernetesLogin)
    arn = "aws:arn:aws:kms:eu-central-1:111122223333:alias/legal"
    assert read_key_settings(parse_key_address(arn), {}) == AwsSettings(region="eu-central-1")


@pytest.mark.slow
def test_a_missing_client_names_its_extra() -> None:
    for module, address, extra in (
        ("boto3", "aws:alias/legal", "kms-aws"),
        ("google.cloud.kms_v1", "gcp:projects/p/locations/l/keyRings/r/cryptoKeys/k", "kms-gcp"),
        ("azure.identity", "azure:my-vault/legal", "kms-azure"),
    ):
        code = (
            f"import sys; sys.modules[{module!r}] = None\n"
            "from sekisho.kms.choose import open_key_service\n"
            f"try: open_key_service({address!r}, {{}})\n"
            "except Exception as error: print(error)"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert f"install sekisho[{extra}]" in done.stdout


# --- OpenBao


def test_an_exportable_key_is_unsafe(bao: Bao, tmp_path: Path) -> None:
    name = fresh("loose")
    bao.admin("POST", f"transit/keys/{name}", {"exportable": True})
    (tmp_path / "token").write_text(bao.root)
    keys = transit(bao, TokenFile(tmp_path / "token"))
    with pytest.raises(RefusedError, match="the server would export it") as caught:
        keys.wrap(DATA_KEY, key_id=f"transit/{name}", context=CONTEXT)
    assert caught.value.reason is Reason.KEY_UNSAFE
    assert keys.describe(f"transit/{name}").unsafe


def test_a_key_that_binds_no_context_is_refused(bao: Bao, tmp_path: Path) -> None:
    name = fresh("rsa")
    bao.admin("POST", f"transit/keys/{name}", {"type": "rsa-2048"})
    (tmp_path / "token").write_text(bao.root)
    with pytest.raises(RefusedError, match="a key of type 'rsa-2048' binds no associated data"):
        transit(bao, TokenFile(tmp_path / "token")).wrap(DATA_KEY, key_id=f"transit/{name}", context=CONTEXT)


def test_wrapping_with_an_unknown_name_creates_no_key(bao: Bao, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(bao.root)
    keys = transit(bao, TokenFile(tmp_path / "token"))
    name = fresh("typo")
    with pytest.raises(RefusedError):
        keys.wrap(DATA_KEY, key_id=f"transit/{name}", context=CONTEXT)
    assert bao.send("GET", f"/v1/transit/keys/{name}", None, {"X-Vault-Token": bao.root}).status == 404


@pytest.mark.parametrize("content", [None, "", "two\nlines", "x" * 70_000])
def test_an_unusable_token_file_is_told_without_its_content(bao: Bao, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RefusedError, match="the credential of openbao in") as caught:
        transit(bao, TokenFile(file)).describe("transit/legal")
    assert caught.value.reason is Reason.KEY_DENIED
    assert not content or content not in caught.value.message


def test_a_namespace_has_keys_of_its_own(bao: Bao, tmp_path: Path) -> None:
    namespace, name = fresh("ns"), fresh("legal")
    bao.admin("POST", f"sys/namespaces/{namespace}", {})
    bao.admin("POST", "sys/mounts/transit", {"type": "transit"}, namespace=namespace)
    bao.admin("POST", f"transit/keys/{name}", {}, namespace=namespace)
    (tmp_path / "token").write_text(bao.root)
    inside = transit(bao, TokenFile(tmp_path / "token"), namespace=namespace)
    wrapped = inside.wrap(DATA_KEY, key_id=f"transit/{name}", context=CONTEXT)
    assert inside.unwrap(wrapped, context=CONTEXT) == DATA_KEY
    with pytest.raises(RefusedError, match="has no key"):
        transit(bao, TokenFile(tmp_path / "token")).describe(f"transit/{name}")


def test_an_approle_logs_in_again_when_its_token_is_revoked(bao: Bao, tmp_path: Path) -> None:
    mount, name = fresh("approle"), fresh("legal")
    bao.admin("POST", f"sys/auth/{mount}", {"type": "approle"})
    bao.admin("PUT", "sys/policies/acl/use-transit", {"policy": POLICY})
    bao.admin("POST", f"auth/{mount}/role/broker", {"token_policies": ["use-transit"], "token_ttl": "10m"})
    bao.admin("POST", f"transit/keys/{name}", {})
    role, secret = tmp_path / "role", tmp_path / "secret"
    role.write_text(bao.admin("GET", f"auth/{mount}/role/broker/role-id")["data"]["role_id"])
    secret.write_text(bao.admin("POST", f"auth/{mount}/role/broker/secret-id", {})["data"]["secret_id"])
    keys = transit(bao, AppRoleLogin(role, secret, mount))
    wrapped = keys.wrap(DATA_KEY, key_id=f"transit/{name}", context=CONTEXT)
    bao.admin("POST", f"sys/leases/revoke-prefix/auth/{mount}/login", {})
    assert keys.unwrap(wrapped, context=CONTEXT) == DATA_KEY
    secret.write_text("another")
    with pytest.raises(RefusedError, match=f"denied the login at auth/{mount}") as caught:
        transit(bao, AppRoleLogin(role, secret, mount)).describe(f"transit/{name}")
    assert caught.value.reason is Reason.KEY_DENIED


def test_a_service_account_logs_in_with_its_token(bao: Bao, tmp_path: Path) -> None:
    mount, name = fresh("jwt"), fresh("legal")
    private = rsa.generate_private_key(65537, 2048)
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    public = private.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()
    bao.admin("POST", f"sys/auth/{mount}", {"type": "jwt"})
    bao.admin("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [public]})
    bao.admin("PUT", "sys/policies/acl/use-transit", {"policy": POLICY})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["bao"], "token_policies": ["use-transit"]}
    bao.admin("POST", f"auth/{mount}/role/broker", role)
    bao.admin("POST", f"transit/keys/{name}", {})
    file = tmp_path / "token"
    now = int(time.time())
    claims = {"sub": "sekisho-broker", "aud": "bao", "iat": now, "nbf": now, "exp": now + 3600}
    file.write_text(jwt.encode(claims, private, "RS256"))
    keys = transit(bao, KubernetesLogin("broker", file, mount))
    wrapped = keys.wrap(DATA_KEY, key_id=f"transit/{name}", context=CONTEXT)
    assert keys.unwrap(wrapped, context=CONTEXT) == DATA_KEY
    with pytest.raises(RefusedError, match=r'this needs "read" on sys/keys/x'):
        keys.describe("sys/x")


def test_a_server_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    keys = OpenBaoTransit(OpenBaoSettings(address="http://127.0.0.1:9", login=TokenFile(tmp_path / "token")))
    with pytest.raises(UnavailableError, match=r"127.0.0.1 could not be asked \(ConnectionRefusedError\)"):
        keys.describe("transit/legal")


def test_a_server_that_drips_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not ended.wait(0.05):
                    client.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        keys = OpenBaoTransit(
            OpenBaoSettings(address=address, login=TokenFile(tmp_path / "token"), timeout_seconds=0.5)
        )
        with pytest.raises(UnavailableError, match="gave no usable answer") as caught:
            keys.describe("transit/legal")
        ended.set()
        thread.join()
    assert caught.value.reason is Reason.KMS_UNAVAILABLE


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "null", '"x"', "[]"])
def test_a_number_of_a_version_that_is_none_is_no_answer(tmp_path: Path, number: str) -> None:
    (tmp_path / "token").write_text("t")
    data = f'{{"data":{{"type":"aes256-gcm96","latest_version":{number},"min_decryption_version":1}}}}'
    with serve_files(FileServer({"/v1/transit/keys/legal": data.encode()}), None) as server:
        keys = OpenBaoTransit(OpenBaoSettings(address=f"http://{server.host}", login=TokenFile(tmp_path / "token")))
        with pytest.raises(UnavailableError, match="is not what transit says"):
            keys.describe("transit/legal")


# --- PKCS#11


def pkcs11_settings(hsm: Hsm, **settings: object) -> Pkcs11Settings:
    values: dict[str, object] = {"module": hsm.module, "token": "sekisho", "pin_file": hsm.pin_file, **settings}
    return Pkcs11Settings(**values)  # type: ignore[arg-type]


def test_a_key_that_can_leave_the_token_is_unsafe(hsm: Hsm) -> None:
    name = fresh("loose")
    hsm.generate(name, 1, leaves=True)
    keys = Pkcs11Keys(pkcs11_settings(hsm))
    with pytest.raises(RefusedError, match="it is not sensitive, or is extractable") as caught:
        keys.wrap(DATA_KEY, key_id=name, context=CONTEXT)
    assert caught.value.reason is Reason.KEY_UNSAFE
    assert keys.describe(name).unsafe


def test_a_pin_that_was_refused_is_not_tried_again(hsm: Hsm, tmp_path: Path) -> None:
    name = fresh("legal")
    hsm.generate(name, 1)
    pin = tmp_path / "pin"
    pin.write_text("0000-wrong")
    keys = Pkcs11Keys(pkcs11_settings(hsm, pin_file=pin))
    with pytest.raises(RefusedError, match="the token refused the one in the file"):
        keys.describe(name)
    with pytest.raises(RefusedError, match="it refused this one before") as caught:
        keys.describe(name)
    assert caught.value.reason is Reason.KEY_DENIED
    assert "0000-wrong" not in caught.value.message
    pin.write_text(hsm.pin_file.read_text())
    assert keys.describe(name).enabled


def test_a_destroyed_version_is_revoked(hsm: Hsm) -> None:
    name = fresh("legal")
    hsm.generate(name, 1)
    keys = Pkcs11Keys(pkcs11_settings(hsm))
    wrapped = keys.wrap(DATA_KEY, key_id=name, context=CONTEXT)
    hsm.generate(name, 2)
    hsm.set(name, 1)
    with pytest.raises(RefusedError, match="version 1 is not in the token any more") as caught:
        keys.unwrap(wrapped, context=CONTEXT)
    assert caught.value.reason is Reason.KEY_VERSION_REVOKED


def test_a_missing_token_or_library_is_unavailable(hsm: Hsm, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"the token failed \(NoSuchToken\)"):
        Pkcs11Keys(pkcs11_settings(hsm, token="absent")).describe("legal")
    with pytest.raises(UnavailableError, match="there is no library"):
        Pkcs11Keys(pkcs11_settings(hsm, module=tmp_path / "absent.so")).describe("legal")


# --- clouds


def test_aws_refuses_a_wrong_signature(monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
    bench = aws_bench(stack, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(RefusedError, match="this needs kms:DescribeKey") as caught:
        bench.open().describe(bench.key_id)
    assert caught.value.reason is Reason.KEY_DENIED


def test_the_version_that_a_wrapped_key_claims_does_not_pass_the_minimum_at_aws(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    bench = aws_bench(stack, monkeypatch)
    old = bench.service.wrap(DATA_KEY, key_id=bench.key_id, context=CONTEXT)
    bench.rotate()
    with pytest.raises(RefusedError, match="version 1 wrapped it, 2 is the minimum"):
        bench.open(minimum_version=2).unwrap(replace(old, key_version="9"), context=CONTEXT)


@pytest.mark.slow
def test_a_damaged_answer_of_google_is_not_used(stack: ExitStack, tmp_path: Path) -> None:
    bench = gcp_bench(stack, tmp_path)
    wrapped = bench.service.wrap(DATA_KEY, key_id=bench.key_id, context=CONTEXT)
    assert bench.web is not None
    bench.web.service.damaged = True  # type: ignore[attr-defined]
    for call in (
        lambda: bench.service.unwrap(wrapped, context=CONTEXT),
        lambda: bench.service.wrap(DATA_KEY, key_id=bench.key_id, context=CONTEXT),
    ):
        with pytest.raises(UnavailableError, match="the checksum does not fit"):
            call()
