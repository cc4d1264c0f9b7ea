"""The Deployment, its pods, and what may change without restarting them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.agent.config import SealedConfig, parse_config
from sekisho.placement.requirement import Requirement
from sekisho.render.access import render_agent_config, render_config, render_service_account
from sekisho.render.affinity import render_affinity
from sekisho.render.digest import encode_canonical, stamp
from sekisho.render.estimate import estimate_needs
from sekisho.render.manifests import ISOLATION_KINDS, WORKLOAD_KINDS, render_isolation, render_workload
from sekisho.render.service import render_disruption_budget, render_service
from sekisho.render.settings import ReleaseAddress
from sekisho.render.storage import parse_storage_uri
from sekisho.render.workload import render_deployment, render_template
from tests.unit.plan.worlds import DIGEST, SETTINGS, build_runtime
from tests.unit.render.blueprints import RELEASED, SEALED, build_blueprint, build_predictor

OTHER = "sha256:" + "cd" * 32


def containers(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from template["spec"]["initContainers"]
    yield from template["spec"]["containers"]


def container(template: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in containers(template) if item["name"] == name)


def test_what_isolates_pods_owns_what_starts_them_and_waits_for_its_end() -> None:
    service, policy = render_deployment(build_blueprint(isolation_uid="uid-np"))["metadata"]["ownerReferences"]
    assert (service["kind"], service["controller"]) == ("InferenceService", True)
    assert (policy["kind"], policy["name"], policy["uid"]) == ("NetworkPolicy", "review-predictor", "uid-np")
    assert (policy["controller"], policy["blockOwnerDeletion"]) == (False, True)


def test_a_policy_that_nobody_has_seen_owns_nothing() -> None:
    owners = render_deployment(build_blueprint())["metadata"]["ownerReferences"]
    assert [owner["kind"] for owner in owners] == ["InferenceService"]


def test_no_container_but_the_agent_holds_a_token_and_that_one_is_for_the_depot_alone() -> None:
    template = render_template(build_blueprint())
    spec = template["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    (source,) = next(v for v in spec["volumes"] if v["name"] == "token")["projected"]["sources"]
    assert source == {"serviceAccountToken": {"audience": "sekisho-depot", "expirationSeconds": 600, "path": "token"}}
    holders = [c["name"] for c in containers(template) if any(m["name"] == "token" for m in c["volumeMounts"])]
    assert holders == ["agent"]


@pytest.mark.parametrize("name", ["agent", "engine"])
def test_agent_and_engine_keep_to_the_restricted_pod_security_standard(name: str) -> None:
    context = container(render_template(build_blueprint()), name)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == 65532
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_fence_alone_may_change_the_network_and_runs_first() -> None:
    template = render_template(build_blueprint())
    assert [c["name"] for c in template["spec"]["initContainers"]] == ["fence", "agent"]
    able = [c["name"] for c in containers(template) if c["securityContext"]["capabilities"].get("add")]
    assert able == ["fence"]
    assert container(template, "fence")["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
    assert "restartPolicy" not in container(template, "fence")
    assert container(template, "agent")["restartPolicy"] == "Always"


def test_without_the_fence_no_container_has_a_capability() -> None:
    template = render_template(build_blueprint(settings=replace(SETTINGS, fence=False)))
    assert [c["name"] for c in template["spec"]["initContainers"]] == ["agent"]
    assert not any("add" in c["securityContext"]["capabilities"] for c in containers(template))


def test_a_pod_is_not_ready_before_isolation_and_weights_are_there() -> None:
    gates = [g["conditionType"] for g in render_template(build_blueprint())["spec"]["readinessGates"]]
    assert gates == ["sekisho.dev/isolated", "sekisho.dev/weights"]


def test_mounted_weights_are_read_only_reach_the_engine_alone_and_need_no_fetch() -> None:
    blueprint = build_blueprint(storage=parse_storage_uri("pvc://claim/a"))
    template = render_template(blueprint)
    assert [g["conditionType"] for g in template["spec"]["readinessGates"]] == ["sekisho.dev/isolated"]
    holders = [c["name"] for c in containers(template) if any(m["name"] == "weights" for m in c["volumeMounts"])]
    assert holders == ["engine"]
    assert render_agent_config(blueprint)["weights"] == {"mode": "mounted", "path": "/models"}


def test_weights_are_writable_for_the_agent_and_read_only_for_the_engine() -> None:
    template = render_template(build_blueprint())
    mounts = {c["name"]: [m for m in c["volumeMounts"] if m["name"] == "weights"] for c in containers(template)}
    assert [m["readOnly"] for m in mounts["agent"]] == [False]
    assert [m["readOnly"] for m in mounts["engine"]] == [True]


def test_weights_in_memory_are_charged_to_the_agent_that_writes_them() -> None:
    blueprint = build_blueprint(in_memory=True, size_bytes=1 << 30)
    needs = replace(blueprint.needs, volume_mib=1092)
    agent = container(render_template(replace(blueprint, needs=needs)), "agent")
    assert agent["resources"]["limits"]["memory"] == f"{256 + 1092}Mi"


def test_only_a_pod_that_unseals_gets_tokens_for_release_and_attester_and_keeps_them_whatever_is_installed() -> None:
    def audiences(**changes: Any) -> list[str]:
        volumes = {item["name"]: item for item in render_template(build_blueprint(**changes))["spec"]["volumes"]}
        return [item["serviceAccountToken"]["audience"] for item in volumes["token"]["projected"]["sources"]]

    assert audiences() == audiences(settings=RELEASED) == ["sekisho-depot"]
    all_three = ["sekisho-depot", "sekisho-broker", "sekisho-attester"]
    assert audiences(sealed=SEALED) == audiences(sealed=SEALED, settings=RELEASED) == all_three
    brokered = replace(RELEASED, attester_host="10.96.0.60")
    first, *others = [build_blueprint(sealed=SEALED, settings=item) for item in (SETTINGS, RELEASED, brokered)]
    assert all(render_template(first) == render_template(other) for other in others)


def test_the_agent_tells_whether_requests_may_come_in_where_weights_are_unsealed() -> None:
    def probe(**changes: Any) -> dict[str, Any]:
        found: dict[str, Any] = container(render_template(build_blueprint(**changes)), "engine")["readinessProbe"]
        return found

    assert probe()["httpGet"] == {"path": "/health", "port": "http", "scheme": "HTTP"}
    assert probe(sealed=SEALED)["httpGet"] == {"path": "/engine-ready", "port": 8181, "scheme": "HTTP"}


def test_the_agent_of_a_sealed_model_is_told_of_its_nodes_attester() -> None:
    settings = replace(RELEASED, attester_host="10.96.0.60")
    assert "attester" not in render_agent_config(build_blueprint(settings=settings))
    assert "attester" not in render_agent_config(build_blueprint(sealed=SEALED, settings=RELEASED))
    config = render_agent_config(build_blueprint(sealed=SEALED, settings=settings))
    assert config["attester"] == {
        "host": "10.96.0.60", "port": 443, "serverName": "sekisho-attester.sekisho-system.svc",
    }  # fmt: skip
    read = parse_config(json.dumps(config).encode(), host_ip="10.0.0.1")
    assert read.attester is not None
    assert read.attester.host == "10.96.0.60"
    assert not read.leased


def test_a_broker_is_named_with_its_protocol() -> None:
    release = ReleaseAddress("10.96.0.51", "sekisho-broker", "broker", protocol="broker")
    config = render_agent_config(build_blueprint(sealed=SEALED, settings=replace(SETTINGS, release=release)))
    assert config["release"] == {
        "host": "10.96.0.51", "port": 443, "serverName": "sekisho-broker.sekisho-system.svc", "protocol": "broker",
    }  # fmt: skip
    assert parse_config(json.dumps(config).encode(), host_ip="10.0.0.1").leased


def test_the_agent_of_a_sealed_model_is_told_what_was_accepted_and_where_keys_are_released() -> None:
    plain = render_agent_config(build_blueprint(settings=RELEASED))
    assert "release" not in plain
    assert plain["weights"] == {"mode": "depot", "path": "/models"}
    assert "release" not in render_agent_config(build_blueprint(sealed=SEALED))
    config = render_agent_config(build_blueprint(sealed=SEALED, settings=RELEASED))
    assert config["release"] == {
        "host": "10.96.0.50", "port": 443, "serverName": "sekisho-unsafe-development-release.sekisho-system.svc",
        "protocol": "unsafe-development",
    }  # fmt: skip
    read = parse_config(json.dumps(config).encode(), host_ip="10.0.0.1")
    assert read.weights.sealed == SealedConfig(
        manifest_digest=SEALED.manifest_digest, model="legal/reviewer", version=7, data_class="confidential+gdpr",
        kms="unsafe-development", key_id="owner", key_version="1",
    )  # fmt: skip
    assert read.release is not None
    assert read.release.address.host == "10.96.0.50"


def test_no_name_is_looked_up_outside_the_pod() -> None:
    spec = render_template(build_blueprint())["spec"]
    assert (spec["dnsPolicy"], spec["dnsConfig"]) == ("None", {"nameservers": ["127.0.0.1"]})


def test_the_registry_override_and_pull_secrets_reach_every_container() -> None:
    settings = replace(
        SETTINGS, registry="closed.example:5000", image_pull_secrets=("pull",), image_pull_policy="Always"
    )
    blueprint = build_blueprint(settings=settings)
    deployment = render_workload(blueprint, live=None)[-1]
    template = deployment["spec"]["template"]
    assert all(c["image"].startswith("closed.example:5000/") for c in containers(template))
    assert all(c["imagePullPolicy"] == "Always" for c in containers(template))
    assert template["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert render_service_account(blueprint)["imagePullSecrets"] == [{"name": "pull"}]


def test_placeholders_are_filled_in_command_and_args() -> None:
    runtime = build_runtime(command=["serve", "{{model}}"], memory={"overhead": "1Gi", "shared": "256Mi"},
                            env=[{"name": "HOME", "value": "/tmp"}], args=[])  # fmt: skip
    template = render_template(build_blueprint(runtime=runtime))
    engine = container(template, "engine")
    assert engine["command"] == ["serve", "legal/review"]
    assert "args" not in engine
    assert engine["env"] == [{"name": "HOME", "value": "/tmp"}]
    assert {"name": "shm", "mountPath": "/dev/shm"} in engine["volumeMounts"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}} in template["spec"]["volumes"]


def test_the_engine_starts_only_after_the_agent_and_lives_while_the_agent_vouches_for_it() -> None:
    template = render_template(build_blueprint())
    agent, engine = container(template, "agent"), container(template, "engine")
    assert agent["startupProbe"]["httpGet"] == {"path": "/startup", "port": 8181, "scheme": "HTTP"}
    assert engine["livenessProbe"]["httpGet"] == {"path": "/engine-live", "port": 8181, "scheme": "HTTP"}
    assert engine["readinessProbe"]["httpGet"]["path"] == "/health"
    assert engine["startupProbe"]["periodSeconds"] * engine["startupProbe"]["failureThreshold"] == 600


@pytest.mark.parametrize(
    ("changes", "surge", "unavailable"),
    [
        ({}, 1, 0),
        ({"tenancy": "SharedByOwner"}, 1, 0),
        ({"tenancy": "Dedicated"}, 0, 1),
        ({"gpus": 1}, 0, 1),
        ({"yields": True}, 1, 1),
        ({"yields": True, "tenancy": "Dedicated"}, 0, 1),
    ],
)
def test_scarce_nodes_and_gpus_and_the_room_of_pods_that_serve_nobody_are_given_back_first(
    changes: dict[str, Any], surge: int, unavailable: int
) -> None:
    predictor = build_predictor(resources={"gpus": changes.pop("gpus", 0)})
    needs = estimate_needs(predictor, build_runtime(), memory=None, size_bytes=1)
    spec = render_deployment(build_blueprint(needs=needs, **changes))["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": unavailable}


def test_gpus_and_limits_are_asked_for() -> None:
    predictor = build_predictor(
        resources={"gpus": 2},
        model={"modelRef": {"name": "a"}, "resources": {"limits": {"cpu": "2", "memory": "2Gi", "example.com/x": "1"}}},
    )
    needs = estimate_needs(predictor, build_runtime(), memory=None, size_bytes=1)
    resources = container(render_template(build_blueprint(predictor=predictor, needs=needs)), "engine")["resources"]
    assert resources == {
        "requests": {"cpu": "2000m", "memory": "2048Mi", "nvidia.com/gpu": "2", "example.com/x": "1"},
        "limits": {"cpu": "2000m", "memory": "2048Mi", "nvidia.com/gpu": "2", "example.com/x": "1"},
    }


def test_alternatives_of_placement_become_alternatives_of_affinity_and_ages_are_left_out() -> None:
    snp = "sekisho.node-restriction.kubernetes.io/snp-attested-at"
    terms = ((Requirement("site", "In", ("a",)), Requirement(snp, "Gt", ("17",))), (Requirement("gpu", "Gt", ("7",)),))
    node = render_affinity(build_blueprint(terms=terms))["nodeAffinity"]
    assert node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "site", "operator": "In", "values": ["a"]}, {"key": snp, "operator": "Exists"}]},
        {"matchExpressions": [{"key": "gpu", "operator": "Gt", "values": ["7"]}]},
    ]


def test_a_service_without_terms_and_of_shared_tenancy_has_no_affinity() -> None:
    assert render_affinity(build_blueprint(terms=())) == {}
    assert "affinity" not in render_template(build_blueprint(terms=()))["spec"]


def test_tenancy_keeps_pods_of_others_away() -> None:
    def terms(tenancy: str) -> list[dict[str, Any]]:
        affinity = render_affinity(build_blueprint(tenancy=tenancy))
        found: list[dict[str, Any]] = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        return found

    foreign = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["legal"]}
    ours = {"key": "sekisho.dev/service", "operator": "Exists"}
    (by_owner,) = terms("SharedByOwner")
    assert by_owner["namespaceSelector"] == {"matchExpressions": [foreign]}
    assert by_owner["labelSelector"] == {"matchExpressions": [ours]}
    other = terms("Dedicated")[1]
    assert other["namespaceSelector"] == {}
    assert {"key": "sekisho.dev/service", "operator": "NotIn", "values": ["review"]} in other["labelSelector"][
        "matchExpressions"
    ]


def test_wishes_of_the_service_are_rendered() -> None:
    predictor = build_predictor(
        nodeSelector={"disk": "fast"}, runtimeClassName="kata", tolerations=[{"key": "gpu", "operator": "Exists"}]
    )
    spec = render_template(build_blueprint(predictor=predictor))["spec"]
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["runtimeClassName"] == "kata"
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]


def test_a_new_ca_or_depot_changes_the_config_and_not_the_pods() -> None:
    moved = build_blueprint(settings=replace(SETTINGS, ca_pem="new", depot_host="10.96.0.99", canaries=()))
    assert render_config(moved)["data"] != render_config(build_blueprint())["data"]
    assert encode_canonical(render_deployment(moved)) == encode_canonical(render_deployment(build_blueprint()))


def test_the_config_tells_the_agent_what_it_needs_and_nothing_secret() -> None:
    config = render_config(build_blueprint())
    told = json.loads(config["data"]["agent.json"])
    assert told["depot"] == {"host": "10.96.0.40", "port": 443, "serverName": "sekisho-depot.sekisho-system.svc"}
    assert [item["name"] for item in told["canaries"]] == ["api-server", "node", "outside"]
    assert told["engine"] == {"port": 8080, "healthPath": "/health"}
    assert config["data"]["ca.crt"] == SETTINGS.ca_pem


def live(**changes: Any) -> dict[str, Any]:
    return render_workload(build_blueprint(**changes), live=None)[-1]


def agent_images(deployment: dict[str, Any]) -> set[str]:
    return {c["image"] for c in deployment["spec"]["template"]["spec"]["initContainers"]}


def test_an_upgrade_of_the_agent_alone_leaves_running_pods_alone() -> None:
    upgraded = build_blueprint(agent_image=f"sekisho.local/agent@{OTHER}")
    running = live()
    assert agent_images(render_workload(upgraded, live=running)[-1]) == {f"sekisho.local/agent@{DIGEST}"}
    assert encode_canonical(render_workload(upgraded, live=running)[-1]) == encode_canonical(running)


@pytest.mark.parametrize(
    ("running", "why"),
    [
        (None, "nothing runs"),
        ({"site": "osaka-cloud"}, "the pods change anyway"),
        ({"agent_image": "elsewhere.example/agent:1"}, "the image is of another repository"),
        ({"agent_image": "sekisho.local/agent:1", "by_digest": True}, "the class demands a digest"),
    ],
)
def test_the_new_agent_is_taken_where_the_old_one_may_not_stay(running: dict[str, Any] | None, why: str) -> None:
    by_digest = bool(running and running.get("by_digest"))
    upgraded = build_blueprint(agent_image=f"sekisho.local/agent@{OTHER}", by_digest=by_digest)
    before = None if running is None else live(**running)
    assert agent_images(render_workload(upgraded, live=before)[-1]) == {f"sekisho.local/agent@{OTHER}"}, why


def test_an_agent_that_somebody_changed_is_put_right() -> None:
    tampered = live()
    tampered["spec"]["template"]["spec"]["initContainers"][0]["image"] = f"sekisho.local/agent@{OTHER}"
    assert agent_images(render_workload(build_blueprint(), live=tampered)[-1]) == {f"sekisho.local/agent@{DIGEST}"}


def test_a_deployment_without_our_note_is_replaced() -> None:
    bare = {"metadata": {"name": "review-predictor"}}
    assert agent_images(render_workload(build_blueprint(), live=bare)[-1]) == {f"sekisho.local/agent@{DIGEST}"}


@pytest.mark.parametrize(("replicas", "least"), [(0, 0), (1, 0), (3, 2)])
def test_one_pod_at_a_time_may_be_drained_and_a_single_one_too(replicas: int, least: int) -> None:
    budget = render_disruption_budget(build_blueprint(replicas=replicas))
    assert budget["spec"]["minAvailable"] == least


def test_only_ready_pods_are_behind_the_service() -> None:
    spec = render_service(build_blueprint())["spec"]
    assert spec["publishNotReadyAddresses"] is False
    assert spec["selector"] == {"sekisho.dev/service": "review"}


def test_every_child_is_owned_labelled_stamped_and_in_its_order() -> None:
    blueprint = build_blueprint()
    manifests = [*render_isolation(blueprint), *render_workload(blueprint, live=None)]
    assert tuple(item["kind"] for item in manifests) == (*ISOLATION_KINDS, *WORKLOAD_KINDS)
    for manifest in manifests:
        metadata = manifest["metadata"]
        assert (metadata["name"], metadata["namespace"]) == ("review-predictor", "legal")
        assert metadata["labels"]["sekisho.dev/classification"] == "confidential.gdpr"
        assert metadata["ownerReferences"][0]["controller"] is True
        assert metadata["ownerReferences"][0]["blockOwnerDeletion"] is True
        bare = {**manifest, "metadata": {**metadata, "annotations": dict(metadata["annotations"])}}
        digest = bare["metadata"]["annotations"].pop("sekisho.dev/applied-digest")
        if not bare["metadata"]["annotations"]:
            del bare["metadata"]["annotations"]
        assert stamp(bare)["metadata"]["annotations"]["sekisho.dev/applied-digest"] == digest


@pytest.mark.slow
@settings(deadline=None)
@given(
    replicas=st.integers(0, 9),
    labels=st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.just("x"), max_size=4),
    tenancy=st.sampled_from(["Shared", "SharedByOwner", "Dedicated"]),
    fence=st.booleans(),
)
def test_the_same_input_gives_the_same_bytes_whatever_the_order(
    replicas: int, labels: dict[str, str], tenancy: str, fence: bool
) -> None:
    def render(order: int) -> bytes:
        selector = dict(list(labels.items())[::order])
        blueprint = build_blueprint(
            replicas=replicas, tenancy=tenancy, predictor=build_predictor(nodeSelector=selector),
            settings=replace(SETTINGS, fence=fence),
        )  # fmt: skip
        return json.dumps([*render_isolation(blueprint), *render_workload(blueprint, live=None)]).encode()

    assert render(1) == render(-1)


SEALED_VLLM = build_runtime(
    formats=[{"name": "safetensors"}], loader="sealed", args=["--model={{path}}"],
    env=[{"name": "HOME", "value": "/tmp"}, {"name": "SEKISHO_LOADER_SOCKET", "value": "/tmp/mine"}],
)  # fmt: skip


def handing_over(**changes: Any) -> dict[str, Any]:
    return render_template(
        build_blueprint(
            **{"runtime": SEALED_VLLM, "sealed": SEALED, "settings": RELEASED, "in_memory": True, **changes}
        )
    )


def test_an_engine_that_decrypts_by_itself_gets_ciphertext_a_socket_and_no_plain_weights() -> None:
    template = handing_over()
    volumes = {item["name"]: item for item in template["spec"]["volumes"]}
    assert volumes["weights"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "256Mi"}
    assert volumes["handover"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}
    assert "medium" not in volumes["sealed"]["emptyDir"], "ciphertext may lie on a disk"
    assert volumes["sealed"]["emptyDir"]["sizeLimit"] == "255Mi", "110 MB, a twentieth, 16 MiB and the seal's 128 MiB"
    engine, agent = container(template, "engine"), container(template, "agent")
    mounts = {m["name"]: (m["mountPath"], m["readOnly"]) for m in engine["volumeMounts"] if m["name"] != "tmp"}
    assert mounts == {"weights": ("/models", True), "sealed": ("/sealed", True), "handover": ("/run/sekisho", True)}
    written = {m["name"] for m in agent["volumeMounts"] if not m.get("readOnly")}
    assert written == {"weights", "sealed", "handover", "agent-tmp"}
    assert engine["args"] == ["--model=/models", "--load-format=sekisho"]


def test_where_ciphertext_and_keys_are_is_ours_to_say() -> None:
    env = container(handing_over(), "engine")["env"]
    assert {item["name"]: item["value"] for item in env} == {
        "HOME": "/tmp", "SEKISHO_LOADER_CIPHERTEXT": "/sealed", "SEKISHO_LOADER_SOCKET": "/run/sekisho/keys",
    }  # fmt: skip
    assert len(env) == 3


def test_the_agent_reads_where_to_hand_over_and_only_there() -> None:
    blueprint = build_blueprint(runtime=SEALED_VLLM, sealed=SEALED, settings=RELEASED)
    parsed = parse_config(json.dumps(render_agent_config(blueprint)).encode(), host_ip="10.0.0.1")
    assert parsed.weights.handover is not None
    assert (parsed.weights.handover.ciphertext, parsed.weights.handover.socket) == ("/sealed", "/run/sekisho/keys")
    for other in (replace(blueprint, sealed=None), replace(blueprint, runtime=build_runtime())):
        assert "handover" not in render_agent_config(other)["weights"]


def test_plain_weights_are_served_as_ever_by_a_runtime_that_could_decrypt() -> None:
    template = handing_over(sealed=None, in_memory=False)
    assert not {"sealed", "handover"} & {item["name"] for item in template["spec"]["volumes"]}
    engine = container(template, "engine")
    assert engine["args"] == ["--model=/models"]
    assert {"name": "SEKISHO_LOADER_SOCKET", "value": "/tmp/mine"} in engine["env"]
