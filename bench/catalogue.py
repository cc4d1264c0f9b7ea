"""Every benchmark that exists; a family is a module with `add_to(registry)`, named here."""

from bench import placement
from bench.gateway import endurance, ledger, litellm, planted, speed
from bench.harness import Registry
from bench.operators import benchmarks as operators
from bench.redact import benchmarks as redact
from bench.release import benchmarks as release
from bench.sealed import benchmarks as sealed
from bench.trust import benchmarks as trust


def build_registry() -> Registry:
    """Return all benchmarks, in the order of the table."""
    registry = Registry()
    placement.add_to(registry)
    operators.add_to(registry)
    sealed.add_to(registry)
    release.add_to(registry)
    trust.add_to(registry)
    redact.add_to(registry)
    planted.add_to(registry)
    ledger.add_to(registry)
    speed.add_to(registry)
    litellm.add_to(registry)
    endurance.add_to(registry)
    return registry
