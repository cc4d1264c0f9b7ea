"""One digest of what a pod runs: the cluster's own additions leave it as it is, anything else changes it."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sekisho.api import names
from sekisho.render.podspec import describe_pod, digest_pod, digest_template
from sekisho.render.workload import render_template
from tests.unit.plan.worlds import build_runtime
from tests.unit.render.blueprints import RELEASED, SEALED, build_blueprint, build_predictor

Pod = dict[str, Any]
Change = Callable[[Pod], object]


def render(**changes: Any) -> Pod:
    return render_template(build_blueprint(sealed=SEALED, settings=RELEASED, in_memory=True, **changes))


def admit(template: Pod) -> Pod:
    """Return the pod that defaulting, admission, scheduler and controllers make of a template."""
    pod = copy.deepcopy(template)
    pod["metadata"] |= {"name": "review-predictor-6f7d9c5b4-x2x9z", "uid": "u-1", "annotations": {"who/cares": "no"}}
    pod["metadata"]["labels"]["pod-template-hash"] = "6f7d9c5b4"
    spec = pod["spec"]
    for gone in ("hostNetwork", "hostPID", "hostIPC"):
        spec.pop(gone)  # the API server leaves out what is false
    spec |= {
        "nodeName": "node-1", "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
        "schedulerName": "default-scheduler", "restartPolicy": "Always", "serviceAccount": spec["serviceAccountName"],
        "imagePullSecrets": [{"name": "of-the-account"}], "overhead": {"memory": "160Mi"},
    }  # fmt: skip
    spec.setdefault("tolerations", []).append({"key": "node.kubernetes.io/not-ready", "operator": "Exists"})
    spec.setdefault("nodeSelector", {})["from.a/runtime-class"] = "yes"
    for container in (*spec["initContainers"], *spec["containers"]):
        container["terminationMessagePath"] = "/dev/termination-log"
        container.setdefault("terminationMessagePolicy", "File")
        container["imagePullPolicy"] = "Always"
        container["resizePolicy"] = [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]
        container["resources"].setdefault("limits", {})["ephemeral-storage"] = "10Gi"
        for env in container.get("env", ()):
            if env.get("value") == "":
                del env["value"]
        for mount in container["volumeMounts"]:
            if mount.get("readOnly") is False:
                del mount["readOnly"]
    return pod


def digest(pod: Pod) -> str:
    meta = pod["metadata"]
    return digest_pod(meta.get("labels") or {}, meta.get("annotations") or {}, pod["spec"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"predictor": build_predictor(runtimeClassName="kata-qemu-snp", nodeSelector={"a": "b"})},
        {"runtime": build_runtime(memory={"overhead": "1Gi", "shared": "1Gi"})},
        {"settings": replace(RELEASED, fence=False, image_pull_secrets=("registry",))},
    ],
)
def test_a_pod_that_the_cluster_made_of_a_template_has_its_digest(changes: dict[str, Any]) -> None:
    template = render_template(
        build_blueprint(**{"sealed": SEALED, "settings": RELEASED, "in_memory": True, **changes})
    )
    assert digest(admit(template)) == digest_template(template)


def engine(pod: Pod) -> Pod:
    return next(item for item in pod["spec"]["containers"] if item["name"] == "engine")


def agent(pod: Pod) -> Pod:
    return next(item for item in pod["spec"]["initContainers"] if item["name"] == "agent")


def volume(pod: Pod, name: str) -> Pod:
    return next(item for item in pod["spec"]["volumes"] if item["name"] == name)


CHANGES: dict[str, Change] = {
    "another image": lambda pod: engine(pod).update(image="registry.example/evil@sha256:" + "0" * 64),
    "another image of the agent": lambda pod: agent(pod).update(image="registry.example/evil"),
    "an argument more": lambda pod: engine(pod).setdefault("args", []).append("--dump-weights"),
    "another command": lambda pod: engine(pod).update(command=["/bin/sh"]),
    "an environment variable": lambda pod: (
        engine(pod).setdefault("env", []).append({"name": "LD_PRELOAD", "value": "/x"})
    ),
    "variables from elsewhere": lambda pod: engine(pod).update(envFrom=[{"secretRef": {"name": "x"}}]),
    "a sidecar": lambda pod: pod["spec"]["containers"].append({"name": "spy", "image": "spy"}),
    "an init container": lambda pod: pod["spec"]["initContainers"].insert(0, {"name": "spy", "image": "spy"}),
    "a debug container": lambda pod: pod["spec"].update(ephemeralContainers=[{"name": "spy", "image": "spy"}]),
    "privilege": lambda pod: engine(pod)["securityContext"].update(privileged=True),
    "a capability": lambda pod: engine(pod)["securityContext"].update(capabilities={"add": ["SYS_PTRACE"]}),
    "a writable root": lambda pod: engine(pod)["securityContext"].update(readOnlyRootFilesystem=False),
    "another user": lambda pod: engine(pod)["securityContext"].update(runAsUser=0),
    "no profile of system calls": lambda pod: engine(pod)["securityContext"].pop("seccompProfile"),
    "the host's network": lambda pod: pod["spec"].update(hostNetwork=True),
    "the host's processes": lambda pod: pod["spec"].update(hostPID=True),
    "shared processes": lambda pod: pod["spec"].update(shareProcessNamespace=True),
    "a folder of the host": lambda pod: pod["spec"]["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    "weights on a disk": lambda pod: volume(pod, "weights")["emptyDir"].pop("medium"),
    "more room": lambda pod: volume(pod, "tmp")["emptyDir"].update(sizeLimit="40Gi"),
    "another token": lambda pod: volume(pod, "token")["projected"]["sources"].append(
        {"serviceAccountToken": {"audience": "other", "path": "x", "expirationSeconds": 600}}
    ),
    "another configuration": lambda pod: volume(pod, "config")["configMap"].update(name="mine"),
    "a writable mount": lambda pod: engine(pod)["volumeMounts"][0].update(readOnly=False),
    "a mount that reaches the host": lambda pod: engine(pod)["volumeMounts"][0].update(
        mountPropagation="Bidirectional"
    ),
    "a device": lambda pod: engine(pod)["resources"].setdefault("limits", {}).update({"example.com/tap": "1"}),
    "a claimed device": lambda pod: engine(pod)["resources"].update(claims=[{"name": "gpu"}]),
    "another account": lambda pod: pod["spec"].update(serviceAccountName="default"),
    "a token for the API server": lambda pod: pod["spec"].update(automountServiceAccountToken=True),
    "another runtime class": lambda pod: pod["spec"].update(runtimeClassName="runc"),
    "names that are looked up": lambda pod: pod["spec"].update(dnsPolicy="ClusterFirst"),
    "another name server": lambda pod: pod["spec"].update(dnsConfig={"nameservers": ["192.0.2.1"]}),
    "names of hosts": lambda pod: pod["spec"].update(hostAliases=[{"ip": "192.0.2.1", "hostnames": ["x"]}]),
    "a kernel setting": lambda pod: pod["spec"]["securityContext"]["sysctls"].append({"name": "a", "value": "1"}),
    "a hook": lambda pod: engine(pod).update(lifecycle={"postStart": {"exec": {"command": ["x"]}}}),
    "a probe that runs something": lambda pod: engine(pod).update(livenessProbe={"exec": {"command": ["x"]}}),
    "no gate": lambda pod: pod["spec"].pop("readinessGates"),
    "a field nobody knows": lambda pod: pod["spec"].update(tomorrow={"debug": True}),
    "a field of a container nobody knows": lambda pod: engine(pod).update(tomorrow=1),
    "another class": lambda pod: pod["metadata"]["labels"].update({names.CLASS_LABEL: "public"}),
    "another service": lambda pod: pod["metadata"]["labels"].update({names.SERVICE_LABEL: "other"}),
    "another site": lambda pod: pod["metadata"]["labels"].update({names.SITE_LABEL: "cloud"}),
    "a label of ours": lambda pod: pod["metadata"]["labels"].update({"sekisho.dev/extra": "x"}),
    "a setting of the guest": lambda pod: pod["metadata"]["annotations"].update({"io.katacontainers.config.x": "1"}),
    "an injected device": lambda pod: pod["metadata"]["annotations"].update({"cdi.k8s.io/x": "vendor.com/tap=1"}),
    "a second network": lambda pod: pod["metadata"]["annotations"].update({"k8s.v1.cni.cncf.io/networks": "x"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_what_a_pod_runs_or_may_touch_changes_its_digest(change: Change) -> None:
    template = render()
    pod = admit(template)
    change(pod)
    assert digest(pod) != digest_template(template)


HARMLESS: dict[str, Change] = {
    "an amount": lambda pod: engine(pod)["resources"]["requests"].update(cpu="7", memory="1Gi"),
    "huge pages": lambda pod: engine(pod)["resources"]["requests"].update({"hugepages-2Mi": "64Mi"}),
    "a label of somebody": lambda pod: pod["metadata"]["labels"].update({"team": "a"}),
    "an annotation of somebody": lambda pod: pod["metadata"]["annotations"].update({"team": "a"}),
    "the state of a second network": lambda pod: pod["metadata"]["annotations"].update(
        {"k8s.v1.cni.cncf.io/network-status": "[]"}
    ),
    "an amount spelt otherwise": lambda pod: volume(pod, "tmp")["emptyDir"].update(sizeLimit="4096Mi"),
    "another node": lambda pod: pod["spec"].update(nodeName="node-2"),
    "an affinity": lambda pod: pod["spec"].update(affinity={"podAntiAffinity": {}}),
    "a default that is written out": lambda pod: engine(pod)["ports"][0].update(protocol="TCP"),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_where_and_how_much_are_no_part_of_the_digest(change: Change) -> None:
    template = render()
    pod = admit(template)
    change(pod)
    assert digest(pod) == digest_template(template)


def test_an_amount_that_cannot_be_read_counts_as_it_is_spelt() -> None:
    told = describe_pod({}, {}, {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "many"}}]})
    assert told["spec"]["volumes"] == [{"name": "a", "emptyDir": {"sizeLimit": "many"}}]


def test_a_volume_without_a_source_is_an_empty_folder_as_the_api_server_says() -> None:
    def digest_of_volume(volume: Pod) -> str:
        return digest_pod({}, {}, {"volumes": [volume]})

    assert digest_of_volume({"name": "a"}) == digest_of_volume({"name": "a", "emptyDir": {}})
    assert digest_of_volume({"name": "a"}) != digest_of_volume({"name": "a", "downwardAPI": {}})


def test_a_template_of_nothing_has_a_digest_too() -> None:
    assert digest_template({}) == digest_pod({}, {}, {})
    assert digest_template({"metadata": {"labels": {names.SERVICE_LABEL: "a"}}}) != digest_template({})
