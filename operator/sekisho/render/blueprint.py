"""Everything that the manifests of one service are made from."""

from dataclasses import dataclass

from sekisho.api import names
from sekisho.api.v1alpha1.inferenceservice import EgressRule, Predictor
from sekisho.api.v1alpha1.runtime import RuntimeSpec
from sekisho.classify.lattice import DataClass
from sekisho.placement.requirement import Requirement
from sekisho.render.estimate import Needs
from sekisho.render.settings import RenderSettings, SealedFacts
from sekisho.render.storage import Storage, bound_weights_bytes


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One service as it shall stand.

    Attributes:
        uid: Of the InferenceService, for owner references.
        site: Chosen site; empty while there is none (then only what isolates can be rendered).
        terms: Alternatives of node requirements: one of them must hold whole.
        egress: Declared destinations that the class allows.
        tenancy: Shared, SharedByOwner or Dedicated.
        in_memory: Whether weights may not touch a disk; then `needs` counts their volume as memory.
        by_digest: Whether every image must be named by digest.
        agent_image: Image of fence and agent, as settings name it or as the running pods have it.
        sealed: What the pod unseals; None where the weights are plain.
        isolation_uid: Of the NetworkPolicy on the server; empty while there is none.
        yields: Whether pods may go before those that follow them serve, because none of them serves either.
    """

    namespace: str
    name: str
    uid: str
    data_class: DataClass
    site: str
    predictor: Predictor
    runtime: RuntimeSpec
    storage: Storage
    size_bytes: int | None
    needs: Needs
    replicas: int
    terms: tuple[tuple[Requirement, ...], ...]
    egress: tuple[EgressRule, ...]
    tenancy: str
    in_memory: bool
    by_digest: bool
    agent_image: str
    settings: RenderSettings
    sealed: SealedFacts | None = None
    isolation_uid: str = ""
    yields: bool = False

    @property
    def child(self) -> str:
        """Name of every child."""
        return names.name_child(self.name)

    @property
    def hands_over(self) -> bool:
        """Whether the engine decrypts the weights itself, with keys that the agent hands over."""
        return self.sealed is not None and self.runtime.loader == "sealed"

    @property
    def weights_bytes(self) -> int:
        """Size limit of the volume for weights: of what is fetched, or unsealed."""
        return bound_weights_bytes(self.size_bytes, self.settings.max_weights_bytes)
