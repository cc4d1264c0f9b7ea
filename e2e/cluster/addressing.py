"""The addresses of a local cluster, all derived from its number.

Every cluster has networks of its own so that several can run on one machine, and be joined, without overlap.
"""

from dataclasses import dataclass

NUMBERS = range(1, 16)
MAX_NODES = 8
INTERNET_ADDRESS = "203.0.113.10"
METADATA_ADDRESS = "169.254.169.254"
API_PORT = 6443
REGISTRY_PORT = 5000


@dataclass(frozen=True, slots=True)
class Addressing:
    """Networks, addresses and names of namespaces of cluster `number` (1 to 15)."""

    number: int

    def __post_init__(self) -> None:
        if self.number not in NUMBERS:
            msg = f"cluster number {self.number} is not between {NUMBERS.start} and {NUMBERS.stop - 1}"
            raise ValueError(msg)

    @property
    def _lan(self) -> int:
        return 90 + self.number if self.number < 10 else 110 + self.number  # from 101 on there are services

    @property
    def lan_cidr(self) -> str:
        return f"10.{self._lan}.0.0/24"

    @property
    def control_plane(self) -> str:
        return f"10.{self._lan}.0.1"

    @property
    def gateway(self) -> str:
        return f"10.{self._lan}.0.254"

    @property
    def service_cidr(self) -> str:
        return f"10.{100 + self.number}.0.0/16"

    @property
    def api_service(self) -> str:
        return f"10.{100 + self.number}.0.1"

    @property
    def dns_service(self) -> str:
        return f"10.{100 + self.number}.0.10"

    @property
    def pods_cidr(self) -> str:
        return f"10.{240 + self.number}.0.0/16"

    @property
    def simulated_pods_cidr(self) -> str:
        return f"10.{240 + self.number}.128.0/17"

    @property
    def default_api_port(self) -> int:
        """The port on the host's loopback that leads to the API server."""
        return 16442 + self.number

    @property
    def netns_prefix(self) -> str:
        return f"sekisho{self.number}-"

    @property
    def control_plane_netns(self) -> str:
        return f"{self.netns_prefix}cp"

    @property
    def internet_netns(self) -> str:
        return f"{self.netns_prefix}inet"

    def node_netns(self, index: int) -> str:
        return f"{self.netns_prefix}n{index}"

    def node_address(self, index: int) -> str:
        return f"10.{self._lan}.0.{10 + index}"

    def node_pods_cidr(self, index: int) -> str:
        return f"10.{240 + self.number}.{index}.0/24"
