"""What the chart renders: compared with golden files, and held to rules that no value may break."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.build import ensure_binaries
from e2e.cluster.progress import silent
from sekisho.api.v1alpha1 import KINDS

CHART = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
CLOSED = {
    "registry": "registry.closed:5000/mirror",
    "imagePullSecrets": ["registry-read"],
    "controller": {"replicas": 2},
    "gateway": {
        "replicas": 2,
        "record": {
            "storageClass": "fast",
            "keySecret": "ledger-key",
            "retentionDays": 365,
            "copy": {
                "url": "s3://ledger/tokyo",
                "endpoint": "https://s3.closed",
                "credentialsSecret": "ledger-copy",
                "caConfigMap": "closed-ca",
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.9.1/32"}}], "ports": [{"protocol": "TCP", "port": 443}]}],
            },
        },
        "names": False,
        "placeholders": {"secret": "masks"},
        "classifier": {
            "url": "http://prompt-judge.guards.svc/judge",
            "egress": [{"to": [{"namespaceSelector": {"matchLabels": {"name": "guards"}}}]}],
        },
        "identity": {
            "issuers": [
                {
                    "name": "corp",
                    "issuer": "https://id.closed",
                    "audiences": ["gateway"],
                    "jwksUrl": "https://id.closed/jwks",
                },
                {"name": "partner", "issuer": "https://id.partner", "audiences": ["gateway"], "jwks": {"keys": []}},
            ],
            "caConfigMap": "closed-ca",
            "egress": [{"to": [{"ipBlock": {"cidr": "10.0.8.30/32"}}], "ports": [{"protocol": "TCP", "port": 443}]}],
            "apiKeysSecret": "gateway-api-keys",
            "clientCaConfigMap": "callers-ca",
        },
    },
    "depot": {
        "cache": {"storageClass": "fast"},
        "sources": [{"prefix": "oci://registry.closed:5000/", "credentialsSecret": "read", "caConfigMap": "closed-ca"}],
    },
    "isolation": {
        "fence": False,
        "canaries": [{"name": "outside", "host": "203.0.113.10", "port": 80, "protocols": ["tcp", "icmp"]}],
    },
    "metrics": {"scrapers": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
}
UNSAFE = {"unsafeDevelopmentRelease": {"enabled": True, "minimumVersion": 2}}
PER_NODE = {"depot": {"mode": "PerNode", "cache": {"size": "50Gi"}}}
BROKER = {
    "broker": {
        "enabled": True,
        "replicas": 3,
        "record": {"storageClass": "fast"},
        "collateral": {"configMaps": ["collateral-amd", "collateral-intel"]},
        "openbao": {"address": "https://bao.closed:8200", "caConfigMap": "bao-ca", "role": "sekisho-broker"},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/broker"}},
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.8.20/32"}}], "ports": [{"protocol": "TCP", "port": 8200}]}],
    }
}
TRUST = {
    "attester": {"enabled": True, "tpm": {"socket": "/var/lib/tpm/tpm.sock", "pcrs": [0, 4, 7]}},
    "trust": {
        "enabled": True,
        "evidencePolicy": "nodes",
        "tpmRoots": "-----BEGIN CERTIFICATE-----",
        "endorsementKeys": {"n1": ["ab" * 32]},
    },
}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "closed": CLOSED,
    "unsafe-development-release": UNSAFE,
    "broker": BROKER,
    "node-trust": TRUST,
    "per-node": PER_NODE,
}
ELSEWHERE = {"CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def helm() -> str:
    return str(ensure_binaries(silent) / "helm")


def render(helm: str, values: dict[str, Any], *flags: str, namespace: str = "sekisho-system") -> list[dict[str, Any]]:
    command = [helm, "template", "sekisho", str(CHART), "--namespace", namespace, "--values", "-", *flags]
    done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]


def own(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] not in ELSEWHERE]


def pod_specs(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [d["spec"]["template"]["spec"] for d in documents if d["kind"] in ("DaemonSet", "Deployment", "StatefulSet")]


def test_a_classifier_outside_the_cluster_is_refused(helm: str) -> None:
    with pytest.raises(ValueError, match="url"):
        render(helm, {"gateway": {"classifier": {"url": "https://judge.example.com/"}}})


@pytest.mark.parametrize("case", CASES)
def test_the_chart_renders_what_was_agreed(helm: str, case: str) -> None:
    text = yaml.safe_dump_all(own(render(helm, CASES[case])), sort_keys=True, width=110)
    golden = GOLDEN / f"{case}.yaml"
    if "SEKISHO_UPDATE_GOLDEN" in os.environ:
        golden.write_text(text)
    assert text == golden.read_text()


def attesters(helm: str, **attester: Any) -> dict[str, dict[str, Any]]:
    """Return the pods of attesters by the name of their DaemonSet."""
    values = {"attester": {"enabled": True, **attester}}
    documents = render(helm, values, "--show-only", "templates/attester.yaml")
    return {d["metadata"]["name"]: d["spec"]["template"] for d in documents if d["kind"] == "DaemonSet"}


GPUS = {"enabled": True}
BY_PLUGIN = {"resource": "tpm.example/tpm", "group": 59}


def test_gpus_are_asked_nowhere_by_default(helm: str) -> None:
    (pod,) = attesters(helm).values()
    assert "NVIDIA" not in yaml.safe_dump(pod)
    assert "affinity" not in pod["spec"]


def test_nodes_with_gpus_have_attesters_of_their_own_that_are_handed_gpus_without_privileges(helm: str) -> None:
    pods = attesters(helm, nvidia=GPUS, tpm=BY_PLUGIN)
    assert pods.keys() == {"sekisho-attester", "sekisho-attester-gpu"}
    plain, gpu = pods["sekisho-attester"], pods["sekisho-attester-gpu"]
    for pod, operator in ((plain, "DoesNotExist"), (gpu, "Exists")):
        (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        assert term == {"matchExpressions": [{"key": "nvidia.com/gpu.present", "operator": operator}]}
    assert "NVIDIA" not in yaml.safe_dump(plain)
    assert "runtimeClassName" not in plain["spec"]
    assert gpu["spec"]["runtimeClassName"] == "nvidia"
    (container,) = gpu["spec"]["containers"]
    env = {item["name"]: item.get("value") for item in container["env"]}
    assert (env["SEKISHO_NVIDIA"], env["NVIDIA_DRIVER_CAPABILITIES"]) == ("true", "utility")
    assert "SEKISHO_NVIDIA_LIBRARIES" not in env
    assert "privileged" not in container["securityContext"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_folder_of_libraries_wants_one_privileged_attester(helm: str) -> None:
    pods = attesters(helm, nvidia={**GPUS, "libraries": "/usr/lib/nvidia"}, tpm=BY_PLUGIN)
    (container,) = pods["sekisho-attester"]["spec"]["containers"]
    env = {item["name"]: item.get("value") for item in container["env"]}
    assert (env["SEKISHO_NVIDIA"], env["SEKISHO_NVIDIA_LIBRARIES"]) == ("true", "/run/nvidia/libraries")
    assert container["securityContext"]["privileged"] is True
    mounts = [item for item in container["volumeMounts"] if item["name"] == "nvidia"]
    assert mounts == [{"name": "nvidia", "mountPath": "/run/nvidia/libraries", "readOnly": True}]
    volumes = [item for item in pods["sekisho-attester"]["spec"]["volumes"] if item["name"] == "nvidia"]
    assert volumes == [{"name": "nvidia", "hostPath": {"path": "/usr/lib/nvidia"}}]


def test_gpus_that_nothing_hands_in_are_refused(helm: str) -> None:
    with pytest.raises(ValueError, match=r"needs attester.nvidia.runtimeClass, or attester.nvidia.libraries"):
        attesters(helm, nvidia={**GPUS, "runtimeClass": ""})


def test_a_mode_of_the_depot_that_is_unknown_is_refused(helm: str) -> None:
    with pytest.raises(ValueError, match=r"/depot/mode.*value must be one of 'Central', 'PerNode'"):
        render(helm, {"depot": {"mode": "Everywhere"}})


def find(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))


def test_a_depot_on_each_node_serves_its_own_pods_by_the_same_address_and_may_lead_by_one_lease(helm: str) -> None:
    documents = own(render(helm, PER_NODE))
    assert [d["kind"] for d in documents if d["metadata"]["name"] == "sekisho-depot" and d["kind"].endswith("Set")] == [
        "DaemonSet"
    ]
    for name in ("sekisho-depot", "sekisho-depot-canary"):
        assert find(documents, "Service", name)["spec"]["internalTrafficPolicy"] == "Local"
    spec = find(documents, "DaemonSet", "sekisho-depot")["spec"]["template"]["spec"]
    assert spec["tolerations"] == [{"operator": "Exists", "effect": "NoSchedule"}]
    env = {item["name"]: item for item in spec["containers"][0]["env"]}
    assert env["SEKISHO_NODE"]["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
    assert env["SEKISHO_CACHE_SIZE"]["value"] == "50Gi"
    assert {"name": "cache", "emptyDir": {"sizeLimit": "50Gi"}} in spec["volumes"]
    rights = find(documents, "Role", "sekisho-depot")["rules"]
    assert {tuple(rule["resources"]) for rule in rights} == {("leases",)}
    assert rights[1]["resourceNames"] == ["sekisho-depot"]
    controller = find(documents, "Deployment", "sekisho-controller")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "SEKISHO_DEPOT_PER_NODE", "value": "true"} in controller["env"]


def test_a_cache_of_a_storage_class_is_a_claim_of_the_depots_pod_on_each_node(helm: str) -> None:
    documents = render(helm, {"depot": {"mode": "PerNode", "cache": {"size": "50Gi", "storageClass": "local"}}})
    spec = find(documents, "DaemonSet", "sekisho-depot")["spec"]
    assert "volumeClaimTemplates" not in spec
    (cache,) = [item for item in spec["template"]["spec"]["volumes"] if item["name"] == "cache"]
    claim = cache["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("local", "50Gi")


def test_a_depot_alone_needs_no_lease_and_is_reached_from_every_node(helm: str) -> None:
    documents = own(render(helm, {}))
    assert not [d for d in documents if d["kind"] == "Role" and d["metadata"]["name"] == "sekisho-depot"]
    assert find(documents, "Service", "sekisho-depot")["spec"]["internalTrafficPolicy"] == "Cluster"
    assert not [d for d in documents if d["metadata"]["name"] == "sekisho-depot-canary"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        # An empty list of ports would be a rule without limits: everything, everywhere.
        ({"network": {"apiServerPorts": []}}, r"/network/apiServerPorts.*minItems"),
        ({"network": {"apiServerPorts": [0]}}, r"/network/apiServerPorts/0"),
        ({"network": {"dns": {"namespace": ""}}}, r"/network/dns/namespace"),
        ({"isolation": {"proofIntervalSeconds": 90}}, "each proof would be too old before the next one comes"),
        ({"images": {"agent": {"repository": "registry.closed:5000/agent:1"}}}, r"/images/agent/repository"),
        ({"controller": {"nodeSelector": {"gpu": True}}}, r"/controller/nodeSelector/gpu.*want string"),
        ({"policies": {"kubeSystemUserPrefix": "it's:"}}, r"/policies/kubeSystemUserPrefix"),
    ],
)
def test_a_value_that_could_not_be_meant_is_refused_by_name(helm: str, values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        render(helm, values)


def untyped(value: Any, path: str = "") -> Iterator[str]:
    """Yield where a name is no text, as it is where its quotes were forgotten."""
    if isinstance(value, dict):
        for key, item in value.items():
            is_name = key in {"name", "namespace", "secretName", "claimName", "storageClassName", "runtimeClassName"}
            if is_name and not isinstance(item, str):
                yield f"{path}.{key}: {item!r}"
            yield from untyped(item, f"{path}.{key}")
    if isinstance(value, list):
        for item in value:
            yield from untyped(item, path)


def test_names_that_look_like_numbers_stay_names(helm: str) -> None:
    record = {"storageClass": "1", "keySecret": "2", "copy": {**CLOSED["gateway"]["record"]["copy"]}}
    record["copy"] |= {"credentialsSecret": "3", "caConfigMap": "4"}
    identity = {**CLOSED["gateway"]["identity"], "caConfigMap": "5", "apiKeysSecret": "6", "clientCaConfigMap": "7"}
    sources = [{"prefix": "oci://registry.closed/", "credentialsSecret": "8", "caConfigMap": "9"}]
    openbao = {**BROKER["broker"]["openbao"], "caConfigMap": "10", "audience": "11"}
    values = {
        "imagePullSecrets": ["12"],
        "gateway": {"record": record, "identity": identity, "placeholders": {"secret": "13"}},
        "depot": {"cache": {"storageClass": "14"}, "sources": sources},
        "broker": {**BROKER["broker"], "openbao": openbao, "collateral": {"configMaps": ["15"]}},
        "unsafeDevelopmentRelease": {"enabled": True, "keySecret": "16"},
        "attester": {"enabled": True, "nvidia": {"enabled": True, "runtimeClass": "17"}},
        "trust": {**TRUST["trust"], "collateralConfigMap": "18", "hardwareCollateral": ["19"]},
    }
    assert list(untyped(own(render(helm, values, namespace="20")))) == []
    claimed = {"broker": {"enabled": True, "collateral": {"claim": "21"}}}
    assert list(untyped(own(render(helm, claimed)))) == []


def test_no_process_may_connect_everywhere_unless_somebody_said_so(helm: str) -> None:
    documents = render(helm, {**BROKER, **TRUST, **UNSAFE, "depot": {"egress": []}})
    rules = [rule for d in documents if d["kind"] == "NetworkPolicy" for rule in d["spec"].get("egress", [])]
    assert rules
    assert all(rule.get("to") or rule.get("ports") for rule in rules)


def test_a_value_of_the_wrong_type_is_refused_by_name(helm: str) -> None:
    with pytest.raises(ValueError, match=r"/isolation/fence.*got string, want boolean"):
        render(helm, {"isolation": {"fence": "maybe"}})


def test_an_unknown_value_is_refused_by_name(helm: str) -> None:
    with pytest.raises(ValueError, match=r"'fense' not allowed"):
        render(helm, {"isolation": {"fense": True}})


def test_definitions_and_policies_are_shipped_and_definitions_survive_an_uninstall(helm: str) -> None:
    documents = render(helm, {})
    definitions = [d for d in documents if d["kind"] == "CustomResourceDefinition"]
    assert len(definitions) == len(KINDS)
    assert all(d["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for d in definitions)
    assert len([d for d in documents if d["kind"] == "ValidatingAdmissionPolicy"]) >= 5


def test_policies_follow_the_namespace_of_the_release(helm: str) -> None:
    documents = render(helm, {}, namespace="elsewhere")
    policies = yaml.safe_dump_all([d for d in documents if d["kind"] == "ValidatingAdmissionPolicy"])
    assert "system:serviceaccount:elsewhere:sekisho-controller" in policies
    assert "system:serviceaccount:sekisho-system:" not in policies


def admission(helm: str, values: dict[str, Any], namespace: str) -> str:
    documents = render(helm, {"policies": values}, namespace=namespace)
    return yaml.safe_dump_all([d for d in documents if d["kind"] == "ValidatingAdmissionPolicy"], width=10_000)


def test_policies_know_the_clusters_own_controllers_under_other_names(helm: str) -> None:
    moved = admission(helm, {"kubeSystemUserPrefix": "system:serviceaccount:infra:"}, "kube-system")
    assert "system:serviceaccount:infra:replicaset-controller" in moved
    assert "system:serviceaccount:kube-system:sekisho-controller" in moved
    assert "system:serviceaccount:kube-system:replicaset-controller" not in moved
    one = admission(helm, {"controllerManagerUser": "system:kube-controller-manager"}, "kube-system")
    assert "request.userInfo.username in [variables.author, 'system:kube-controller-manager']" in one
    assert "system:serviceaccount:kube-system:sekisho-controller" in one
    assert "replicaset-controller'" not in one


def test_one_registry_and_the_pull_secrets_reach_every_pod(helm: str) -> None:
    documents = render(helm, CLOSED)
    specs = pod_specs(documents)
    images = [c["image"] for spec in specs for c in [*spec["containers"], *spec.get("initContainers", [])]]
    assert len(images) == 3
    assert all(image.startswith("registry.closed:5000/mirror/") for image in images), images
    assert all(spec["imagePullSecrets"] == [{"name": "registry-read"}] for spec in specs)
    controller = next(spec for spec in specs if spec["serviceAccountName"] == "sekisho-controller")
    env = {item["name"]: item.get("value") for item in controller["containers"][0]["env"]}
    assert env["SEKISHO_REGISTRY"] == "registry.closed:5000/mirror"
    assert env["SEKISHO_AGENT_IMAGE"].startswith("registry.closed:5000/mirror/agent:")
    assert env["SEKISHO_IMAGE_PULL_SECRETS"] == "registry-read"


def test_no_role_reads_secrets_beyond_three_names_in_the_own_namespace(helm: str) -> None:
    documents = render(helm, {})
    for role in documents:
        if role["kind"] not in ("ClusterRole", "Role"):
            continue
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"], role["metadata"]["name"]
            if "secrets" in rule["resources"]:
                assert role["kind"] == "Role"
                assert rule["verbs"] == ["create"] or len(rule["resourceNames"]) == 3


def test_the_unsafe_development_release_is_there_only_where_it_was_asked_for_and_says_what_it_is(helm: str) -> None:
    assert "unsafe" not in yaml.safe_dump_all(own(render(helm, {})))
    documents = render(helm, UNSAFE)
    role = next(d for d in documents if d["kind"] == "ClusterRole" and "unsafe" in d["metadata"]["name"])
    rights = {(rule["resources"][0], *rule["verbs"]) for rule in role["rules"]}
    assert rights == {("tokenreviews", "create"), ("pods", "get")}
    named = [
        rule["resourceNames"]
        for d in documents
        if d["kind"] == "Role"
        for rule in d["rules"]
        if "secrets" in rule["resources"] and "resourceNames" in rule
    ]
    assert named == [
        ["sekisho-ca", "sekisho-depot-tls", "sekisho-gateway-tls", "sekisho-unsafe-development-release-tls"]
    ]


def test_the_broker_alone_has_an_identity_for_the_key_service_and_a_way_to_it(helm: str) -> None:
    assert "sekisho-broker" not in {item["metadata"]["name"] for item in own(render(helm, {}))}
    documents = own(render(helm, BROKER))
    accounts = {
        d["metadata"]["name"]: d["metadata"].get("annotations") for d in documents if d["kind"] == "ServiceAccount"
    }
    assert [name for name, annotations in accounts.items() if annotations] == ["sekisho-broker"]
    tokens = [
        (spec["serviceAccountName"], source["serviceAccountToken"]["audience"])
        for spec in pod_specs(documents)
        for volume in spec["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "serviceAccountToken" in source
    ]
    assert tokens == [("sekisho-broker", "openbao")]
    policies = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "NetworkPolicy"}
    assert BROKER["broker"]["egress"][0] in policies["sekisho-broker"]["egress"]
    assert all("10.0.8.20" not in str(spec) for name, spec in policies.items() if name != "sekisho-broker")
    assert [peer["podSelector"] for peer in policies["sekisho-broker"]["ingress"][0]["from"]] == [
        {"matchExpressions": [{"key": "sekisho.dev/service", "operator": "Exists"}]}
    ]
    rights = {
        (resource, verb)
        for d in documents
        if d["kind"] == "ClusterRole" and d["metadata"]["name"] == "sekisho-broker"
        for rule in d["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    writes = {(resource, verb) for resource, verb in rights if verb not in {"get", "list", "watch"}}
    assert writes == {("tokenreviews", "create"), ("pods/status", "patch"), ("models/status", "patch")}
    assert not any(resource in {"secrets", "serviceaccounts/token"} for resource, _ in rights)


def test_the_broker_may_list_pods_only_where_it_speaks_to_guests(helm: str) -> None:
    def rights(values: dict[str, Any]) -> set[str]:
        roles = [d for d in own(render(helm, values)) if d["kind"] == "ClusterRole"]
        rules = [rule for d in roles if d["metadata"]["name"] == "sekisho-broker" for rule in d["rules"]]
        return {verb for rule in rules if "pods" in rule["resources"] for verb in rule["verbs"]}

    guests = {**BROKER, "broker": {**BROKER["broker"], "kbs": {"enabled": True, "configMaps": ["keys-of-guests"]}}}
    assert rights(BROKER) == {"get"}
    assert rights(guests) == {"get", "list"}
    (spec,) = [s for s in pod_specs(own(render(helm, guests))) if s["serviceAccountName"] == "sekisho-broker"]
    assert {"name": "SEKISHO_KBS", "value": "true"} in spec["containers"][0]["env"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "resources"]
    assert volume["projected"]["sources"] == [{"configMap": {"name": "keys-of-guests", "optional": True}}]


def test_the_controller_writes_children_statuses_and_what_is_its_own_alone(helm: str) -> None:
    documents = own(render(helm, {**BROKER, **TRUST}))
    roles = [d for d in documents if d["kind"] in ("ClusterRole", "Role")]
    rights = {
        (resource, verb, *rule.get("resourceNames", ())[:1])
        for d in roles
        if d["metadata"]["name"] == "sekisho-controller"
        for rule in d["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    children = {
        "services", "serviceaccounts", "configmaps", "deployments", "poddisruptionbudgets", "networkpolicies",
    }  # fmt: skip
    own_kinds = {kind["plural"] for kind in KINDS}
    assert {right for right in rights if right[1] not in ("get", "list", "watch")} == {
        *((kind, verb) for kind in children for verb in ("create", "patch", "delete")),
        *((f"{kind}/status", "patch") for kind in own_kinds),
        ("inferenceservices/finalizers", "update"), ("networkpolicies/finalizers", "update"),
        ("events", "create"), ("pods/eviction", "create"),
        ("pods", "delete"), ("secrets", "create"), ("secrets", "patch", "sekisho-ca"),
        ("leases", "create"), ("leases", "update", "sekisho-controller"),
    }  # fmt: skip


def test_the_gateway_reads_pods_and_nodes_and_writes_questions_and_demand_alone(helm: str) -> None:
    rights = {
        (resource, verb)
        for d in own(render(helm, {}))
        if d["kind"] == "ClusterRole" and d["metadata"]["name"] == "sekisho-gateway"
        for rule in d["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    kinds = {"accesspolicies", "classificationpolicies", "inferenceservices", "runtimes", "sites"}
    assert rights == {
        ("tokenreviews", "create"), ("subjectaccessreviews", "create"), ("inferenceservices/status", "patch"),
        *((kind, verb) for kind in kinds for verb in ("get", "list", "watch")),
        *((kind, verb) for kind in ("pods", "nodes") for verb in ("list", "watch")),
    }  # fmt: skip


def test_all_who_judge_a_proof_of_isolation_agree_how_old_it_may_be(helm: str) -> None:
    documents = own(render(helm, {**BROKER, "isolation": {"proofMaxAgeSeconds": 120}}))
    told = {
        document["metadata"]["name"]: item["value"]
        for document in documents
        if document["kind"] in {"DaemonSet", "Deployment", "StatefulSet"}
        for container in document["spec"]["template"]["spec"]["containers"]
        for item in container.get("env", ())
        if item["name"] == "SEKISHO_PROOF_MAX_AGE_SECONDS"
    }
    assert told == dict.fromkeys(("sekisho-broker", "sekisho-controller", "sekisho-depot", "sekisho-gateway"), "120")


@pytest.mark.parametrize("values", [UNSAFE, BROKER, TRUST], ids=["unsafe", "broker", "trust"])
def test_every_process_runs_without_rights_it_does_not_need(helm: str, values: dict[str, Any]) -> None:
    for spec in pod_specs(render(helm, values)):
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


def test_node_trust_is_there_only_where_it_was_asked_for(helm: str) -> None:
    kept = yaml.safe_dump_all(own(render(helm, {})))
    assert "sekisho-attester" not in kept
    assert "sekisho-trust" not in kept


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"attester": {"enabled": False}}, "trust.enabled needs attester.enabled"),
        ({"trust": {**TRUST["trust"], "evidencePolicy": ""}}, "trust.enabled needs trust.evidencePolicy"),
        ({"trust": {**TRUST["trust"], "tpmRoots": ""}}, "trust.enabled needs trust.tpmRoots"),
        ({"trust": {**TRUST["trust"], "endorsementKeys": {"n1": ["AB"]}}}, "endorsementKeys"),
    ],
)
def test_node_trust_without_roots_or_rules_is_refused(helm: str, values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        render(helm, {**TRUST, **values})


def test_only_the_trust_controller_may_write_nodes_and_only_attesters_reach_it(helm: str) -> None:
    documents = render(helm, TRUST)
    writers = {
        role["metadata"]["name"]
        for role in documents
        if role["kind"] == "ClusterRole"
        for rule in role["rules"]
        if "nodes" in rule["resources"] and set(rule["verbs"]) - {"get", "list", "watch"}
    }
    assert writers == {"sekisho-trust"}
    policy = next(d for d in documents if d["kind"] == "NetworkPolicy" and d["metadata"]["name"] == "sekisho-trust")
    (door,) = policy["spec"]["ingress"]
    assert door["from"] == [
        {
            "podSelector": {
                "matchLabels": {"app.kubernetes.io/name": "sekisho", "app.kubernetes.io/component": "attester"}
            }
        }
    ]


@pytest.mark.parametrize(
    ("tpm", "tsm", "privileged"),
    [
        ({"device": "/dev/tpmrm0"}, False, True),
        ({"device": "/dev/tpmrm0", "resource": "example.test/tpm", "group": 118}, False, False),
        ({"socket": "/var/lib/tpm/tpm.sock"}, False, False),
        ({"socket": "/var/lib/tpm/tpm.sock"}, True, True),
    ],
)
def test_an_attester_is_privileged_only_where_the_kernel_wants_it(
    helm: str, tpm: dict[str, Any], tsm: bool, privileged: bool
) -> None:
    documents = render(helm, {"attester": {"enabled": True, "tpm": tpm, "tsm": tsm}})
    spec = next(d for d in documents if d["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    assert "hostNetwork" not in spec
    (container,) = spec["containers"]
    assert container["securityContext"].get("privileged", False) is privileged
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    if not privileged:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    if "resource" in tpm:
        assert container["resources"]["limits"]["example.test/tpm"] == 1
        assert spec["securityContext"]["supplementalGroups"] == [118]
    service = next(d for d in documents if d["kind"] == "Service" and d["metadata"]["name"] == "sekisho-attester")
    assert service["spec"]["internalTrafficPolicy"] == "Local"


WRITES = {"create", "update", "patch", "delete", "*"}


def roles_that_write(documents: list[dict[str, Any]], resource: str) -> list[dict[str, Any]]:
    return [
        document
        for document in documents
        if document["kind"] in ("ClusterRole", "Role")
        and any(resource in rule["resources"] and WRITES & set(rule["verbs"]) for rule in document["rules"])
    ]


def test_no_role_that_comes_with_a_namespace_grants_a_key_and_no_editor_grants_data(helm: str) -> None:
    documents = render(helm, {"broker": {"enabled": True}})
    aggregated = "rbac.authorization.k8s.io/aggregate-to-"
    (owner,) = roles_that_write(documents, "keyreleasepolicies")
    assert owner["metadata"]["name"] == "sekisho-key-owner"
    assert not any(label.startswith(aggregated) for label in owner["metadata"]["labels"])
    (tenant,) = roles_that_write(documents, "datagrants")
    labels = [label for label in tenant["metadata"]["labels"] if label.startswith(aggregated)]
    assert labels == [f"{aggregated}admin"]
    for resource in ("evidencepolicies", "classificationpolicies", "sites"):
        assert roles_that_write(documents, resource) == [], "administrators of the cluster write what all rely on"


def notes(helm: str, values: dict[str, Any]) -> str:
    command = [helm, "install", "x", str(CHART), "--dry-run=client", "-f", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, check=True)
    return done.stdout.partition("\nNOTES:\n")[2]


def test_a_copy_that_nobody_could_verify_is_warned_of(helm: str) -> None:
    copy = {"record": {"copy": {"url": "s3://ledger/tokyo"}}}
    told = notes(helm, {"gateway": copy, "broker": copy})
    assert "WARNING: the record of the gateway is copied, and signed by keys that go with its pods" in told
    assert "Set gateway.record.keySecret" in told
    assert "broker" not in told
    assert "WARNING" not in notes(helm, {"gateway": {"record": copy["record"] | {"keySecret": "ledger"}}})
