"""When a manifest needs a write, and whose objects are left alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.api.names import APPLIED_DIGEST_ANNOTATION
from sekisho.kube.apply import find_difference, is_ours
from sekisho.kube.inventory import find_leftovers, is_owned
from sekisho.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from sekisho.render.digest import stamp

OWNER = {"apiVersion": "a/v1", "kind": "InferenceService", "name": "chat", "uid": "u1", "controller": True}
LABELS = {"app.kubernetes.io/managed-by": "sekisho", "sekisho.dev/service": "chat"}


def build(spec: Any, **meta: Any) -> dict[str, Any]:
    metadata = {"name": "chat-predictor", "namespace": "a", "labels": LABELS, "ownerReferences": [OWNER], **meta}
    return stamp({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


def live_of(desired: dict[str, Any], spec: Any, **meta: Any) -> dict[str, Any]:
    return {"metadata": {**desired["metadata"], "uid": "x", "resourceVersion": "7", **meta}, "spec": spec}


def test_what_does_not_exist_is_written() -> None:
    assert find_difference(build({}), None) == "it does not exist"


def test_what_is_being_deleted_differs() -> None:
    desired = build({})
    assert find_difference(desired, live_of(desired, {}, deletionTimestamp="now")) == "it is being deleted"


def test_another_digest_is_written() -> None:
    desired = build({"replicas": 1})
    live = live_of(desired, {"replicas": 1}, annotations={APPLIED_DIGEST_ANNOTATION: "sha256:other"})
    assert "digest" in (find_difference(desired, live) or "")


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ({"replicas": 1}, {"replicas": 1, "strategy": {"type": "RollingUpdate"}, "progressDeadlineSeconds": 600}),
        ({"requests": {"cpu": "1000m"}}, {"requests": {"cpu": "1"}}),
        ({"limits": {"memory": "1024Mi"}}, {"limits": {"memory": "1Gi"}}),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"hostNetwork": False}, {}),
        ({"annotations": {}}, {}),
        ({"tolerations": []}, {}),
        ({"containers": [{"name": "a"}]}, {"containers": [{"name": "a", "imagePullPolicy": "IfNotPresent"}]}),
        ({"imagePullSecrets": [{"name": "a"}]}, {"imagePullSecrets": [{"name": "b"}, {"name": "a"}]}),
    ],
)
def test_what_the_server_fills_in_or_spells_otherwise_is_no_difference(wanted: Any, there: Any) -> None:
    desired = build(wanted)
    assert find_difference(desired, live_of(desired, there)) is None


@pytest.mark.parametrize(
    ("wanted", "there", "told"),
    [
        ({"replicas": 1}, {"replicas": 3}, "spec.replicas: 1 wanted, 3 there"),
        ({"replicas": 0}, {"replicas": 1}, "spec.replicas: 0 wanted, 1 there"),
        ({"replicas": 1}, {}, "spec.replicas: 1 wanted, null there"),
        ({"hostNetwork": False}, {"hostNetwork": True}, "spec.hostNetwork: false wanted, true there"),
        ({"egress": []}, {"egress": [{}]}, "spec.egress: 0 items wanted, 1 there"),
        ({"containers": [{"name": "a"}]}, {"containers": [{"name": "a"}, {"name": "spy"}]}, "1 items wanted, 2 there"),
        ({"args": ["a", "b"]}, {"args": ["b", "a"]}, 'spec.args.0: "a" wanted, "b" there'),
        ({"selector": {"a": "1"}}, {"selector": {"a": "1", "b": "2"}}, "spec.selector: b is there, and is not wanted"),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "2"}}, "spec.requests.cpu"),
        ({"imagePullSecrets": [{"name": "a"}]}, {"imagePullSecrets": [{"name": "b"}]}, "a is missing"),
        ({"value": "1"}, {"value": 1}, "spec.value"),
        ({"flag": True}, {"flag": 1}, "spec.flag"),
    ],
)
def test_what_somebody_changed_is_told_with_both_facts(wanted: Any, there: Any, told: str) -> None:
    desired = build(wanted)
    assert told in (find_difference(desired, live_of(desired, there)) or "no difference")


def test_a_label_of_others_is_no_difference_and_one_of_ours_that_is_gone_is() -> None:
    desired = build({})
    assert find_difference(desired, live_of(desired, {}, labels={**LABELS, "theirs": "1"})) is None
    assert "metadata.labels" in (find_difference(desired, live_of(desired, {}, labels={})) or "")


def test_a_removed_owner_is_a_difference_and_another_beside_it_is_none() -> None:
    desired = build({})
    assert find_difference(desired, live_of(desired, {}, ownerReferences=[{"uid": "u2"}, OWNER])) is None
    assert "u1 is missing" in (find_difference(desired, live_of(desired, {}, ownerReferences=[{"uid": "u2"}])) or "")


def test_a_finalizer_of_ours_that_is_gone_is_a_difference_and_one_of_others_is_none() -> None:
    desired = build({}, finalizers=["ours"])
    assert find_difference(desired, live_of(desired, {}, finalizers=["theirs", "ours"])) is None
    told = find_difference(desired, live_of(desired, {}, finalizers=["theirs"]))
    assert told == "metadata.finalizers: ours is missing"


KEY = st.text("abc", min_size=1, max_size=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.slow
@given(st.dictionaries(KEY, JSON, max_size=4))
def test_an_object_never_differs_from_itself(spec: dict[str, Any]) -> None:
    desired = build(spec)
    assert find_difference(desired, live_of(desired, spec)) is None


@pytest.mark.parametrize(
    ("meta", "ours"),
    [
        ({"ownerReferences": [OWNER], "labels": {}}, True),
        ({"ownerReferences": [], "labels": LABELS}, True),
        ({"ownerReferences": [{"uid": "u2"}], "labels": LABELS}, False),
        ({"ownerReferences": [], "labels": {}}, False),
        ({"ownerReferences": [], "labels": {**LABELS, "sekisho.dev/service": "other"}}, False),
        ({}, False),
    ],
)
def test_only_what_our_owner_owns_or_an_orphan_with_our_labels_is_ours(meta: dict[str, Any], ours: bool) -> None:
    assert is_ours({"metadata": meta}, build({})) is ours


def test_leftovers_are_what_the_owner_has_and_nobody_asked_for() -> None:
    def live(name: str, **meta: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": LABELS, "ownerReferences": [OWNER], **meta}}

    children = [
        (DEPLOYMENTS, live("keep")),
        (DEPLOYMENTS, live("old")),
        (CONFIG_MAPS, live("keep")),
        (CONFIG_MAPS, live("ending", deletionTimestamp="now")),
        (CONFIG_MAPS, live("unmarked", labels={})),
        (CONFIG_MAPS, live("theirs", ownerReferences=[{"uid": "u2"}])),
    ]
    found = find_leftovers(children, "u1", keep={("Deployment", "keep")})
    assert [(resource.kind, item["metadata"]["name"]) for resource, item in found] == [
        ("Deployment", "old"),
        ("ConfigMap", "keep"),
    ]
    assert not is_owned({"metadata": {}}, "u1")
