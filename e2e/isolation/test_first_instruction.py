"""From the first instruction on, nothing of a model's pod arrives anywhere but at the depot."""

from e2e.isolation.attack import RAW_PROTOCOLS, send_raw
from e2e.isolation.scene import Pod, Scene, addresses, answered

REPLICAS = 8


def test_nothing_of_new_pods_arrives_anywhere_from_their_first_instruction_on(scene: Scene, namespace: str) -> None:
    with scene.far_ends() as ends:
        scene.serve_attackers("attack", namespace=namespace, replicas=REPLICAS)
        pods = scene.wait_ready("attack", namespace=namespace)
        attempts = [attempt for pod in pods for attempt in scene.wait_attacked(pod)]
        assert len(pods) == REPLICAS
        assert ends.seen(addresses(pods)) == {}
        assert answered(attempts) == []
        assert all(attempt.tries for attempt in attempts)
        assert sum(attempt.tries for attempt in attempts) > 100 * REPLICAS
        scene.prove_controls(ends)


def test_no_protocol_leaves_a_pod_even_where_root_sends_it(scene: Scene, pod: Pod) -> None:
    outside = scene.cluster.internet.address
    with scene.far_ends() as ends:
        send_raw(scene.within(pod), outside)
        assert ends.seen(addresses([pod])) == {}
        control = f"control-{pod['spec']['nodeName']}"
        send_raw(scene.cluster.pod_place(scene.namespace, control), outside)
        seen = ends.seen([scene.address(control)])["internet"]
    assert seen == dict.fromkeys(RAW_PROTOCOLS.values(), 3)
