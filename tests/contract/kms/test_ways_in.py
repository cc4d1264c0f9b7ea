"""How key services are reached and who we are there: authorities of their certificates, accounts of Kubernetes."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kms.aws import AwsKms, AwsSettings
from sekisho.kms.choose import open_key_service
from sekisho.kms.openbao import OpenBaoSettings, OpenBaoTransit
from sekisho.kms.openbao_login import KubernetesLogin, TokenFile
from sekisho.seal.keys import KeyContext
from tests.contract.kms.benches import Bao, fresh, server_tls
from tests.contract.kms.simulators import aws, kubernetes
from tests.contract.kms.simulators.web import Web, serve

CONTEXT = KeyContext("contract-reviewer", 3, "confidential")
DATA_KEY = os.urandom(32)


@pytest.fixture
def key(bao: Bao) -> str:
    name = fresh("legal")
    bao.admin("POST", f"transit/keys/{name}", {})
    return f"transit/{name}"


# --- certificates


@pytest.fixture
def token(bao: Bao, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(bao.root)
    return file


def test_openbao_behind_an_authority_that_nobody_named_is_not_talked_to(bao: Bao, token: Path, key: str) -> None:
    keys = OpenBaoTransit(OpenBaoSettings(address=bao.tls_address, login=TokenFile(token)))
    with pytest.raises(UnavailableError, match=r"certificate of 127\.0\.0\.1 is not trusted") as caught:
        keys.describe(key)
    assert caught.value.reason is Reason.KMS_UNAVAILABLE
    assert "name its authority (BAO_CACERT)" in caught.value.message


def test_openbao_behind_another_authority_is_not_talked_to(bao: Bao, token: Path, key: str, tmp_path: Path) -> None:
    _, other = server_tls(tmp_path)
    keys = OpenBaoTransit(OpenBaoSettings(address=bao.tls_address, login=TokenFile(token), ca_file=other))
    with pytest.raises(UnavailableError, match="is not trusted"):
        keys.describe(key)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_cannot_be_read_is_refused_at_once(
    bao: Bao, token: Path, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UnavailableError, match=r"the certificates in .*ca\.crt cannot be read"):
        OpenBaoTransit(OpenBaoSettings(address=bao.tls_address, login=TokenFile(token), ca_file=file))


def test_openbao_is_reached_by_tls_with_its_authority_from_the_environment(bao: Bao, token: Path, key: str) -> None:
    environment = {
        "BAO_ADDR": bao.tls_address, "BAO_CACERT": str(bao.ca_file), "SEKISHO_BAO_TOKEN_FILE": str(token)
    }  # fmt: skip
    keys = open_key_service(f"openbao:{key}", environment)
    wrapped = keys.wrap(DATA_KEY, key_id=key, context=CONTEXT)
    assert keys.unwrap(wrapped, context=CONTEXT) == DATA_KEY


@pytest.fixture
def aws_web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Web, Path]]:
    """The simulator of AWS behind a certificate of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.SECRET_KEY)
    simulator = aws.Aws()
    simulator.create("legal")
    tls, roots = server_tls(tmp_path)
    with serve(simulator, tls=tls) as web:
        yield web, roots


def test_aws_behind_an_authority_that_nobody_named_is_not_talked_to(aws_web: tuple[Web, Path]) -> None:
    web, _ = aws_web
    keys = AwsKms(AwsSettings(region=aws.REGION, endpoint=f"https://127.0.0.1:{web.port}"))
    with pytest.raises(UnavailableError, match=r"could not be asked \(SSLError\)"):
        keys.describe("alias/legal")
    assert web.asked == 0


def test_an_endpoint_of_aws_is_reached_with_its_authority(
    aws_web: tuple[Web, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    web, roots = aws_web
    endpoint = f"https://127.0.0.1:{web.port}"
    keys = AwsKms(AwsSettings(region=aws.REGION, endpoint=endpoint, ca_file=roots))
    wrapped = keys.wrap(DATA_KEY, key_id="alias/legal", context=CONTEXT)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(roots))
    by_environment = open_key_service(
        "aws:alias/legal", {"AWS_REGION": aws.REGION, "AWS_ENDPOINT_URL_KMS": endpoint}
    )  # fmt: skip
    assert by_environment.unwrap(wrapped, context=CONTEXT) == DATA_KEY


# --- accounts of Kubernetes


def test_a_login_that_fails_in_the_server_can_be_tried_again(bao: Bao, tmp_path: Path, key: str) -> None:
    (tmp_path / "jwt").write_text("a.b.c")
    with serve(bao) as web:
        web.mood = "broken"
        login = KubernetesLogin("broker", tmp_path / "jwt")
        keys = OpenBaoTransit(OpenBaoSettings(address=f"http://127.0.0.1:{web.port}", login=login))
        with pytest.raises(UnavailableError, match="the login at auth/kubernetes failed with status 500") as caught:
            keys.describe(key)
    assert caught.value.reason is Reason.KMS_UNAVAILABLE


@dataclass
class House:
    """OpenBao that asks an API server whose token it got.

    Attributes:
        file: Where the pod's token lies.
    """

    api: kubernetes.ApiServer
    web: Web
    keys: OpenBaoTransit
    file: Path


@pytest.fixture
def house(bao: Bao, tmp_path: Path) -> Iterator[House]:
    api, mount, file = kubernetes.ApiServer(), fresh("kubernetes"), tmp_path / "token"
    tls, roots = server_tls(tmp_path)
    with ExitStack() as stack:
        web = stack.enter_context(serve(api, tls=tls))
        bao.admin("PUT", "sys/policies/acl/wrap", {"policy": 'path "transit/*" { capabilities = ["read", "update"] }'})
        bao.admin("POST", f"sys/auth/{mount}", {"type": "kubernetes"})
        config = {
            "kubernetes_host": f"https://127.0.0.1:{web.port}", "kubernetes_ca_cert": roots.read_text(),
            "token_reviewer_jwt": kubernetes.REVIEWER, "disable_local_ca_jwt": True,
        }  # fmt: skip
        bao.admin("POST", f"auth/{mount}/config", config)
        role = {
            "bound_service_account_names": "sekisho-broker", "bound_service_account_namespaces": "sekisho-system",
            "audience": "bao", "token_policies": ["wrap"],
        }  # fmt: skip
        bao.admin("POST", f"auth/{mount}/role/broker", role)
        login = KubernetesLogin("broker", file, mount)
        yield House(api, web, OpenBaoTransit(OpenBaoSettings(address=bao.address, login=login)), file)
        bao.admin("DELETE", f"sys/auth/{mount}")


def test_a_token_that_the_api_server_does_not_vouch_for_is_denied(house: House, key: str) -> None:
    api = house.api
    broker = api.create("sekisho-system", "sekisho-broker")
    gone = kubernetes.Account("sekisho-system", "sekisho-broker")  # an earlier account of this name
    stranger = rsa.generate_private_key(65537, 2048)
    for why, token in {
        "another account": api.token(api.create("sekisho-system", "default")),
        "another namespace": api.token(api.create("legal", "sekisho-broker")),
        "another audience": api.token(broker, audience="https://kubernetes.default.svc"),
        "expired": api.token(broker, seconds=-60),
        "another cluster": api.token(broker, key=stranger),
        "deleted": api.token(gone),
        "no token": "not.a.token",
    }.items():
        house.file.write_text(token)
        with pytest.raises(RefusedError, match="denied the login at auth/kubernetes-") as caught:
            house.keys.describe(key)
        assert caught.value.reason is Reason.KEY_DENIED, why
        assert token not in caught.value.message


def test_an_api_server_that_fails_lets_nobody_in(house: House, key: str) -> None:
    house.file.write_text(house.api.token(house.api.create("sekisho-system", "sekisho-broker")))
    house.web.mood = "broken"
    with pytest.raises(RefusedError, match="check role and policies, and that the API server answers it") as caught:
        house.keys.describe(key)
    assert caught.value.reason is Reason.KEY_DENIED
    house.web.mood = "well"
    assert house.keys.describe(key).enabled


def test_the_account_of_a_pod_wraps_and_unwraps_by_its_token(house: House, key: str) -> None:
    house.file.write_text(house.api.token(house.api.create("sekisho-system", "sekisho-broker")))
    wrapped = house.keys.wrap(DATA_KEY, key_id=key, context=CONTEXT)
    assert house.keys.unwrap(wrapped, context=CONTEXT) == DATA_KEY
    assert house.web.asked == 1  # one login for all
