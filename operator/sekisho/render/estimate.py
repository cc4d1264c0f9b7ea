"""What one replica needs: what the user says, then what the model's owner measured, then an estimate from the size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.api import names
from sekisho.api.meta import parse_quantity
from sekisho.api.v1alpha1.inferenceservice import Predictor
from sekisho.api.v1alpha1.model import ModelMemory
from sekisho.api.v1alpha1.runtime import RuntimeSpec
from sekisho.errors import Reason, RefusedError
from sekisho.placement.columns import MOST_AMOUNT

MIB: Final = 1 << 20
AGENT_CPU_MILLIS: Final = 20
AGENT_MEMORY_MIB: Final = 64
AGENT_MEMORY_LIMIT_MIB: Final = 256
_NATIVE = ("cpu", "memory", names.GPU_RESOURCE)


@dataclass(frozen=True, slots=True)
class Needs:
    """Amounts of one replica.

    Attributes:
        cpu_millis: Request of the engine.
        memory_mib: Request and, unless the user gave a higher one, limit of the engine.
        gpu_memory_mib: Over all GPUs.
        cpu_limit_millis: None: the engine may use what its node has idle.
        extended: Further resources, passed on as they are written.
        because: How memory was found, for users.
        volume_mib: Size limit of a volume for weights that is kept in memory; 0 where it is on a disk. It is charged to
            the agent, which writes it.
    """

    cpu_millis: int
    memory_mib: int
    gpus: int
    gpu_memory_mib: int
    memory_limit_mib: int
    cpu_limit_millis: int | None
    extended: Mapping[str, str]
    because: str
    volume_mib: int = 0

    @property
    def pod_cpu_millis(self) -> int:
        """CPU that a pod asks of its node, the agent's included."""
        return self.cpu_millis + AGENT_CPU_MILLIS

    @property
    def pod_memory_mib(self) -> int:
        """Memory that a pod asks of its node, the agent's and that of weights kept in memory included."""
        return self.memory_mib + AGENT_MEMORY_MIB + self.volume_mib


def mib(quantity: str) -> int:
    """Return a quantity of bytes in MiB, rounded up."""
    return int(-(-parse_quantity(quantity) // MIB))


def millis(quantity: str) -> int:
    """Return a quantity of cores in thousandths, rounded up."""
    return int(-(-(parse_quantity(quantity) * 1000) // 1))


def estimate_needs(
    predictor: Predictor,
    runtime: RuntimeSpec,
    *,
    memory: ModelMemory | None,
    size_bytes: int | None,
    volume_bytes: int = 0,
) -> Needs:
    """Work out what a replica needs.

    Args:
        predictor: What the user says.
        runtime: What serves.
        memory: What the model's owner measured.
        size_bytes: Of the weights, where it is known.
        volume_bytes: Size limit of the volume of weights where that is kept in memory.

    Raises:
        RefusedError: InvalidSpec where a request is higher than its limit, or than anything that a node can have.
    """
    requests, limits = predictor.model.resources.requests, predictor.model.resources.limits
    gpus = _count_gpus(predictor, runtime)
    memory_mib, because = _find_memory(predictor, runtime, memory, size_bytes)
    limit_mib = max(memory_mib, mib(limits["memory"])) if "memory" in limits else memory_mib
    cpu = predictor.resources.cpu or requests.get("cpu") or limits.get("cpu") or runtime.resources.cpu
    cpu_limit = millis(limits["cpu"]) if "cpu" in limits else None
    _check_limit("cpu", "millicores", millis(cpu), cpu_limit)
    _check_limit("memory", "MiB", memory_mib, mib(limits["memory"]) if "memory" in limits else None)
    gpu_mib, gpu_because = _find_gpu_memory(predictor, runtime, memory, size_bytes) if gpus else (0, "")
    _check_most(("cpu", "millicores", millis(cpu)), ("memory", "MiB", memory_mib), ("GPU memory", "MiB", gpu_mib))
    _check_most(("a replica", "GPUs", gpus))
    return Needs(
        cpu_millis=millis(cpu),
        memory_mib=memory_mib,
        gpus=gpus,
        gpu_memory_mib=gpu_mib,
        memory_limit_mib=limit_mib,
        cpu_limit_millis=cpu_limit,
        extended={key: value for key, value in sorted({**requests, **limits}.items()) if key not in _NATIVE},
        because=f"{because}; {gpu_because}" if gpu_because else because,
        volume_mib=-(-volume_bytes // MIB),
    )


def _check_limit(name: str, unit: str, request: int, limit: int | None) -> None:
    if limit is not None and request > limit:
        raise RefusedError(
            Reason.INVALID_SPEC,
            f"{name} asks for {request} {unit}, its limit is {limit} {unit}; raise one or lower the other",
        )


def _check_most(*amounts: tuple[str, str, int]) -> None:
    for what, unit, amount in amounts:
        if amount > MOST_AMOUNT:
            raise RefusedError(
                Reason.INVALID_SPEC,
                f"{what} comes to {amount} {unit}, no node has more than {MOST_AMOUNT}; ask for less, or correct the "
                "size of the model",
            )


def wanted_gpus(predictor: Predictor) -> int | None:
    """Return the GPUs that the service names, in either spelling; None where it names none.

    Raises:
        RefusedError: InvalidSpec; it names a part of a GPU.
    """
    named = {**predictor.model.resources.requests, **predictor.model.resources.limits}.get(names.GPU_RESOURCE)
    if predictor.resources.gpus is not None:
        return predictor.resources.gpus
    if named is None:
        return None
    amount = parse_quantity(named)
    if amount % 1:
        raise RefusedError(
            Reason.INVALID_SPEC, f"the service asks for {named} of {names.GPU_RESOURCE}; GPUs are whole, ask for 1 or 0"
        )
    return int(amount)


def wants_gpu_memory(predictor: Predictor) -> bool:
    """Tell whether the service names memory of GPUs."""
    return predictor.resources.gpu_memory is not None and mib(predictor.resources.gpu_memory) > 0


def _count_gpus(predictor: Predictor, runtime: RuntimeSpec) -> int:
    wanted = wanted_gpus(predictor)
    return (1 if runtime.accelerators else 0) if wanted is None else wanted


def _find_memory(
    predictor: Predictor, runtime: RuntimeSpec, memory: ModelMemory | None, size_bytes: int | None
) -> tuple[int, str]:
    resources = predictor.model.resources
    named = predictor.resources.memory or resources.requests.get("memory") or resources.limits.get("memory")
    if named:
        return mib(named), f"memory {mib(named)} MiB, as the service says"
    if memory is not None and memory.system:
        return mib(memory.system), f"memory {mib(memory.system)} MiB, as the model says"
    if runtime.resources.memory:
        return mib(runtime.resources.memory), f"memory {mib(runtime.resources.memory)} MiB, as the runtime says"
    return _add_up("memory", runtime, size_bytes)


def _find_gpu_memory(
    predictor: Predictor, runtime: RuntimeSpec, memory: ModelMemory | None, size_bytes: int | None
) -> tuple[int, str]:
    if predictor.resources.gpu_memory:
        amount = mib(predictor.resources.gpu_memory)
        return amount, f"GPU memory {amount} MiB, as the service says"
    if memory is not None and memory.gpu:
        return mib(memory.gpu), f"GPU memory {mib(memory.gpu)} MiB, as the model says"
    return _add_up("GPU memory", runtime, size_bytes)


def _add_up(what: str, runtime: RuntimeSpec, size_bytes: int | None) -> tuple[int, str]:
    overhead = mib(runtime.memory.overhead)
    if size_bytes is None:
        return overhead, f"{what} {overhead} MiB: the runtime's overhead alone, because the model's size is not known"
    weights = -(-size_bytes // MIB)
    return (
        weights + overhead,
        f"{what} {weights + overhead} MiB: weights {weights} MiB and the runtime's overhead {overhead} MiB",
    )
