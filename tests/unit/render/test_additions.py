"""What is not ours in a pod is named; what we render is all ours, and admission knows the same names."""

import re
from dataclasses import replace

import yaml

from policies.conftest import HERE
from sekisho.render.additions import OWN_PARTS, list_additions
from sekisho.render.workload import render_template
from tests.unit.plan.worlds import build_runtime
from tests.unit.render.blueprints import RELEASED, SEALED, build_blueprint


def test_each_container_and_volume_that_was_added_is_named_with_its_field() -> None:
    spec = {
        "initContainers": [{"name": "fence"}, {"name": "istio-init"}],
        "containers": [{"name": "engine"}, {"name": "agent"}],
        "ephemeralContainers": [{"name": "engine"}],
        "volumes": [{"name": "tmp"}, {"name": "x" * 99}],
    }
    assert list_additions(spec) == (
        "container istio-init (spec.initContainers)",
        "container agent (spec.containers)",
        "container engine (spec.ephemeralContainers)",
        f"volume {'x' * 63} (spec.volumes)",
    )


def test_nothing_that_is_rendered_counts_as_added() -> None:
    handed = build_blueprint(
        sealed=SEALED, settings=RELEASED, runtime=build_runtime(loader="sealed", formats=[{"name": "safetensors"}])
    )
    shared = build_blueprint(runtime=build_runtime(memory={"shared": "1Gi"}))
    for blueprint in (build_blueprint(), handed, shared, replace(handed, in_memory=True)):
        assert list_additions(render_template(blueprint)["spec"]) == ()


def names_in(expression: str, variable: str) -> set[str]:
    """Return the one list of names that an expression holds a variable's name against."""
    (listed,) = re.findall(rf"{variable}\.name in (\[.*?\])", expression, re.DOTALL)
    return set(re.findall(r"'([a-z-]+)'", listed))


def test_admission_knows_the_same_names() -> None:
    documents = yaml.safe_load_all((HERE / "pod-author" / "policy.yaml").read_text())
    (policy,) = [
        d for d in documents if (d["metadata"]["name"], d["kind"][-6:]) == ("sekisho-pod-author-pods", "Policy")
    ]
    (added,) = [v["expression"] for v in policy["spec"]["variables"] if v["name"] == "added"]
    known = {
        "initContainers": names_in(added, "c"),
        "containers": set(re.findall(r"c\.name != '([a-z-]+)'", added)),
        "volumes": names_in(added, "v"),
        "ephemeralContainers": set(),  # none at all: no pod is made with one, and nobody may change a pod
    }
    assert known == {field: set(own) for field, own in OWN_PARTS.items()}
