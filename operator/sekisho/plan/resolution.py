"""What a service serves and what serves it: the model behind the reference, and the runtime."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sekisho.api.meta import ModelFormat, parse_quantity
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec, Predictor
from sekisho.api.v1alpha1.model import ModelMemory, ModelSpec
from sekisho.api.v1alpha1.runtime import RuntimeSpec
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.plan.classing import require_policy
from sekisho.plan.sealing import Seen, see_weights, take_facts
from sekisho.plan.world import ModelObject, World
from sekisho.render.estimate import wanted_gpus, wants_gpu_memory
from sekisho.render.settings import SealedFacts
from sekisho.render.storage import Storage, parse_storage_uri


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a service.

    Attributes:
        model_name: Name of the Model; None where the service names the place itself.
        digest: What a fetch must have, where that is known beforehand.
        sealed: What the pod unseals; None where the weights are plain.
        seen: What is known of the weights; None where the service names the place itself.
    """

    model_name: str | None
    format: ModelFormat
    storage: Storage
    size_bytes: int | None
    memory: ModelMemory | None
    digest: str | None
    sealed: SealedFacts | None = None
    seen: Seen | None = None


def resolve_weights(spec: InferenceServiceSpec, world: World) -> Weights:
    """Find the weights of a service.

    Raises:
        RefusedError: The Model does not exist or cannot be read, or its storageUri cannot be used.
    """
    model = spec.predictor.model
    if model.model_ref is not None:
        return _resolve_model(*_require_model(model.model_ref.name, world), world)
    # The API demands both where there is no reference.
    storage = parse_storage_uri(model.storage_uri or "")
    return Weights(None, model.model_format or ModelFormat(name="-"), storage, None, None, storage.digest)


def _resolve_model(obj: ModelObject, spec: ModelSpec, world: World) -> Weights:
    storage = parse_storage_uri(spec.storage_uri)
    seen = see_weights(obj, spec, require_policy(world.policy), now_at=world.now_at)
    sealed = take_facts(seen.last)
    size = int(parse_quantity(spec.size)) if spec.size is not None else None
    digest = spec.digest or storage.digest
    if sealed is not None and seen.last is not None:
        size = seen.last.size_bytes if size is None else size
        digest = digest or seen.last.artifact_digest
    return Weights(obj.name, spec.format, storage, size, spec.memory, digest, sealed, seen)


def _require_model(name: str, world: World) -> tuple[ModelObject, ModelSpec]:
    if world.model is None:
        raise RefusedError(
            Reason.MODEL_NOT_FOUND,
            f"the service names model {name}, its namespace has none of that name; create the Model",
        )
    if isinstance(world.model.spec, Rejection):
        raise RefusedError(world.model.spec.reason, f"model {name} cannot be used: {world.model.spec.detail}")
    return world.model, world.model.spec


def resolve_runtime(
    predictor: Predictor, wanted: ModelFormat, runtimes: Mapping[str, RuntimeSpec]
) -> tuple[str, RuntimeSpec]:
    """Return the runtime that the service names, or the first by name that may be chosen and serves the format.

    Raises:
        RefusedError: None will do; says why each that came close does not.
    """
    name = predictor.model.runtime
    if name is not None:
        if name not in runtimes:
            known = ", ".join(sorted(runtimes)) or "none"
            raise RefusedError(
                Reason.RUNTIME_NOT_FOUND,
                f"the service names runtime {name}; there are: {known}; name one of these, or create it",
            )
        misfit = _find_misfit(name, runtimes[name], predictor, wanted)
        if misfit is not None:
            raise RefusedError.of(misfit)
        return name, runtimes[name]
    misfits = []
    for candidate in sorted(runtimes):
        misfit = _find_misfit(candidate, runtimes[candidate], predictor, wanted)
        if misfit is None and runtimes[candidate].auto_select:
            return candidate, runtimes[candidate]
        misfits.append(
            misfit
            or Rejection(
                Reason.RUNTIME_NOT_FOUND,
                f"runtime {candidate} must be named to be used; name it in spec.predictor.model.runtime",
            )
        )
    raise _refuse_all(wanted, misfits)


def _refuse_all(wanted: ModelFormat, misfits: list[Rejection]) -> RefusedError:
    if not misfits:
        return RefusedError(Reason.RUNTIME_NOT_FOUND, "there is no Runtime; create one that serves the model's format")
    near = [item for item in misfits if item.reason is not Reason.FORMAT_NOT_SERVED]
    if near:
        return RefusedError(near[0].reason, "; ".join(item.detail for item in near[:4]))
    return RefusedError(
        Reason.FORMAT_NOT_SERVED,
        f"no runtime serves format {_spell(wanted)}: {'; '.join(item.detail for item in misfits[:4])}; create one that "
        "does",
    )


def _find_misfit(name: str, runtime: RuntimeSpec, predictor: Predictor, wanted: ModelFormat) -> Rejection | None:
    if not any(_is_served(item, wanted) for item in runtime.formats):
        served = ", ".join(_spell_all(runtime))
        return Rejection(Reason.FORMAT_NOT_SERVED, f"runtime {name} serves {served}, the model is {_spell(wanted)}")
    gpus = wanted_gpus(predictor)
    if runtime.accelerators and gpus == 0:
        needs = ", ".join(runtime.accelerators)
        return Rejection(
            Reason.ACCELERATOR_MISSING,
            f"runtime {name} needs {needs}, the service asks for 0 GPUs; ask for some in spec.predictor.resources",
        )
    if not runtime.accelerators and (gpus or wants_gpu_memory(predictor)):
        asked = gpus or f"{predictor.resources.gpu_memory} of GPU memory"
        return Rejection(
            Reason.ACCELERATOR_MISSING,
            f"runtime {name} uses no GPU, the service asks for {asked}; name a runtime that does, or ask for none",
        )
    return None


def _is_served(offered: ModelFormat, wanted: ModelFormat) -> bool:
    return offered.name == wanted.name and (
        None in (offered.version, wanted.version) or offered.version == wanted.version
    )


def _spell(item: ModelFormat) -> str:
    return f"{item.name} {item.version}" if item.version else item.name


def _spell_all(runtime: RuntimeSpec) -> Iterator[str]:
    return (_spell(item) for item in runtime.formats)
