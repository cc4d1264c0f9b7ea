"""All that was decided about a service, and all that was seen of it: what its conditions are computed from."""

from dataclasses import dataclass, field

from sekisho.api.v1alpha1.inferenceservice import Predictor
from sekisho.errors import Reason, Rejection
from sekisho.placement.outcome import Placement
from sekisho.placement.requirement import Demand
from sekisho.plan.classing import Classing
from sekisho.plan.misplaced import Misplaced
from sekisho.plan.pods import Pod
from sekisho.plan.resolution import Weights
from sekisho.plan.world import Manifest, ServiceObject, World
from sekisho.render.estimate import Needs

# The depot renews the time of a good proof at most this often, so that a quiet pod costs few writes.
PROOF_REFRESH_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Design:
    """What an accepted service comes to: its class, weights, runtime and needs, and where it may run.

    Attributes:
        misplaced: Pods that may not be on the nodes they are on.
        pending: What must be known of the weights first; until then what runs stays, and nothing new is started.
    """

    classing: Classing
    weights: Weights
    runtime_name: str
    needs: Needs
    demand: Demand
    placement: Placement
    predictor: Predictor
    misplaced: tuple[Misplaced, ...]
    pending: Rejection | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One look at a service.

    Attributes:
        classing: None where the class itself is refused.
        design: What it comes to, or why it is not accepted.
        stop: Why nothing may run although it is placed; None: it may.
        waits_for_depot: Whether nothing new is started because something of the depot is not known yet: its address,
            its certificate, or what it found of the weights.
        waits_for_release: Whether nothing new is started because sealed weights need a key that nobody releases here.
        isolation: The rendered NetworkPolicy; empty where nothing is rendered.
        deployment: The rendered Deployment; None where nothing is rendered.
    """

    obj: ServiceObject
    world: World
    pods: tuple[Pod, ...]
    classing: Classing | None
    design: Design | Rejection
    stop: Rejection | None = None
    waits_for_depot: bool = False
    waits_for_release: bool = False
    isolation: Manifest = field(default_factory=dict)
    deployment: Manifest | None = None

    @property
    def replicas(self) -> int:
        """Replicas that shall run."""
        if isinstance(self.design, Rejection) or self.design.placement.site is None or self.stop is not None:
            return 0
        return self.design.demand.replicas

    @property
    def proof_limit_seconds(self) -> float:
        """Age from which a pod's last good proof counts as vanished."""
        return 2 * self.world.settings.proof_max_age_seconds + PROOF_REFRESH_SECONDS


# What may come by itself, with the next object somebody applies or the next look of the depot; or is on its way.
# All other refusals want a change of this one.
AWAITED = frozenset({
    Reason.POLICY_MISSING, Reason.MODEL_NOT_FOUND, Reason.RUNTIME_NOT_FOUND, Reason.WEIGHTS_PENDING,
    Reason.SOURCE_UNREACHABLE, Reason.TERMINATING,
})  # fmt: skip
# Why a site refuses until its object, the policy or the service is changed.
LASTING = frozenset({
    Reason.TIER_NOT_ALLOWED, Reason.JURISDICTION_NOT_ALLOWED, Reason.SITE_NOT_SELECTED, Reason.SITE_KIND_NOT_SERVED,
    Reason.TRUST_IMPOSSIBLE,
})  # fmt: skip
