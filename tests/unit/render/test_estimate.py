"""What a replica needs, and how that was found."""

import pytest

from sekisho.api.v1alpha1.model import ModelMemory
from sekisho.errors import Reason, RefusedError
from sekisho.render.estimate import Needs, estimate_needs
from tests.unit.plan.worlds import build_runtime
from tests.unit.render.blueprints import build_predictor

GPU = "nvidia.com/gpu"


def estimate(
    memory: ModelMemory | None = None, size: int | None = 1 << 30, *, runtime: object = None, **predictor: object
) -> Needs:
    return estimate_needs(build_predictor(**predictor), runtime or build_runtime(), memory=memory, size_bytes=size)


def model(**resources: object) -> dict[str, object]:
    return {"modelRef": {"name": "smollm2"}, "resources": resources}


@pytest.mark.parametrize(
    ("requests", "limits", "fact"),
    [
        ({"memory": "4Gi"}, {"memory": "2Gi"}, "memory asks for 4096 MiB, its limit is 2048 MiB"),
        ({"cpu": "2"}, {"cpu": "500m"}, "cpu asks for 2000 millicores, its limit is 500 millicores"),
    ],
)
def test_a_request_above_its_limit_is_refused_with_both_numbers(requests: object, limits: object, fact: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        estimate(model=model(requests=requests, limits=limits))
    assert refusal.value.reason is Reason.INVALID_SPEC
    assert fact in refusal.value.message


def test_without_any_word_memory_is_weights_and_overhead() -> None:
    needs = estimate()
    assert needs.memory_mib == 1024 + 512
    assert needs.because == "memory 1536 MiB: weights 1024 MiB and the runtime's overhead 512 MiB"
    assert (needs.pod_memory_mib, needs.pod_cpu_millis) == (1536 + 64, 1020)


def test_an_unknown_size_is_said() -> None:
    assert "the runtime's overhead alone, because the model's size is not known" in estimate(size=None).because


@pytest.mark.parametrize(
    ("predictor", "memory", "runtime", "mib", "who"),
    [
        ({"resources": {"memory": "3Gi"}}, ModelMemory(system="1Gi"), {}, 3072, "as the service says"),
        ({"model": model(requests={"memory": "5Gi"})}, None, {}, 5120, "as the service says"),
        ({"model": model(limits={"memory": "6Gi"})}, None, {}, 6144, "as the service says"),
        ({}, ModelMemory(system="2Gi"), {}, 2048, "as the model says"),
        ({}, ModelMemory(gpu="2Gi"), {"resources": {"memory": "7Gi"}}, 7168, "as the runtime says"),
    ],
)
def test_whoever_knows_better_is_believed_first(predictor, memory, runtime, mib: int, who: str) -> None:  # type: ignore[no-untyped-def]
    needs = estimate(memory, runtime=build_runtime(**runtime), **predictor)
    assert needs.memory_mib == mib
    assert who in needs.because


def test_limits_of_the_user_are_kept_and_further_resources_pass_through() -> None:
    needs = estimate(
        model=model(requests={"memory": "1Gi", "example.com/fpga": "1"}, limits={"memory": "2Gi", "cpu": "3"})
    )
    assert (needs.memory_mib, needs.memory_limit_mib, needs.cpu_millis, needs.cpu_limit_millis) == (
        1024,
        2048,
        3000,
        3000,
    )
    assert needs.extended == {"example.com/fpga": "1"}


@pytest.mark.parametrize(
    ("predictor", "memory", "gpus", "mib"),
    [
        ({}, None, 1, 1536),
        ({"resources": {"gpus": 2, "gpuMemory": "40Gi"}}, None, 2, 40960),
        ({"model": model(limits={GPU: "4"})}, ModelMemory(gpu="22Gi"), 4, 22528),
        ({"resources": {"gpus": 0}}, None, 0, 0),
    ],
)
def test_gpus_are_counted_and_their_memory_estimated(predictor, memory, gpus: int, mib: int) -> None:  # type: ignore[no-untyped-def]
    needs = estimate(memory, runtime=build_runtime(accelerators=["nvidia"]), **predictor)
    assert (needs.gpus, needs.gpu_memory_mib) == (gpus, mib)
