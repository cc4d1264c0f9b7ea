"""A registry in the network of kind's nodes, for what the demo and tests publish."""

from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from e2e.cluster.addressing import REGISTRY_PORT
from e2e.cluster.build import ensure_tool
from e2e.cluster.errors import ClusterError
from e2e.cluster.kind import KindCluster, address_of, ensure_node_image, host_command
from e2e.cluster.netns import run
from e2e.cluster.processes import poll
from e2e.cluster.registry import Access, render_config

PROGRAM = "github.com/distribution/distribution/v3/cmd/registry@v3.0.0"
CONFIG = "/etc/registry.json"


class KindRegistry:
    """One registry of a kind cluster, plain and open; what it holds goes with the cluster.

    Attributes:
        host: `address:port` as pods and nodes name it; known after :meth:`start`.
        url: How this machine reaches the same registry; known after :meth:`start`.
    """

    def __init__(self, cluster: KindCluster) -> None:
        self.cluster = cluster
        self.container = f"{cluster.cluster}-registry"

    @property
    def host(self) -> str:
        return f"{address_of(self.container)}:{REGISTRY_PORT}"

    @property
    def url(self) -> str:
        return f"http://{run(('docker', 'port', self.container, f'{REGISTRY_PORT}/tcp')).split()[0]}"

    def start(self) -> None:
        """Start it, with what it held where it was stopped; nothing happens where it runs already."""
        if run(("docker", "ps", "--all", "--quiet", "--filter", f"name=^{self.container}$")).strip():
            run(("docker", "start", self.container))
        else:
            self._run()
        if not poll(self._answers, seconds=60):
            said = run(("sh", "-c", f"docker logs --tail 15 {self.container} 2>&1"), check=False)
            raise ClusterError(
                f"the registry does not answer; its last words:\n{said}", remedy=f"docker logs {self.container}"
            )

    def _run(self) -> None:
        program = ensure_tool(PROGRAM, self.cluster.report)
        config = self.cluster.directory / "registry.json"
        config.write_text(render_config(Path("/var/lib/registry"), Access(), address=f":{REGISTRY_PORT}", keys=Path()))
        publish = ("--publish", f"127.0.0.1::{REGISTRY_PORT}", "--volume", f"{config}:{CONFIG}:ro")
        quiet = ("--env", "OTEL_TRACES_EXPORTER=none")
        image = ensure_node_image(self.cluster.report)
        run(host_command(self.cluster.cluster, "registry", image, program, ("serve", CONFIG), *publish, *quiet))

    def _answers(self) -> bool:
        with suppress(ClusterError, OSError), urlopen(f"{self.url}/v2/", timeout=5) as answer:
            return bool(answer.status == 200)
        return False
