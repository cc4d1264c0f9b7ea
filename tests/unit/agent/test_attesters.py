"""Evidence from what a pod has: bound to what was asked, bounded, and nothing where there is nothing."""

import base64
import contextlib
import errno
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekisho.agent.attesters.collect import collect_evidence
from sekisho.agent.attesters.configfs import TsmReports
from sekisho.agent.attesters.guest import GuestAgent
from sekisho.agent.attesters.node import NodeAttester
from sekisho.agent.attesters.nvidia import NvidiaGpus
from sekisho.agent.config import ServerAddress
from sekisho.agent.transport import ServerAccess
from sekisho.attest.binding import Binding
from sekisho.attest.evidence import UnverifiedEvidence, encode_evidence
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from tests.simulators.hardware.configfs import Report, TsmSource, can_serve, chip_source, serve_tsm
from tests.simulators.hardware.snp import SimulatedSnp
from tests.unit.depot.parts import Keys, build_keys

BINDING = Binding("release", b"n" * 32, b"k" * 32, "legal", "pod-1", "uid-1", "sha256:p", "sha256:i", "sha256:q")
NAME = "sekisho-attester.sekisho-system.svc"
CHIP = SimulatedSnp()

needs_fuse = pytest.mark.skipif(not can_serve(), reason="serving a folder by FUSE needs root and /dev/fuse")


class Source:
    """An attester that gives what it is told to."""

    def __init__(self, kinds: set[str], answer: Callable[[], tuple[UnverifiedEvidence, ...]]) -> None:
        self.kinds, self.answer, self.asked = frozenset(kinds), answer, 0

    def collect(self, _binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        self.asked += 1
        return self.answer()


def gives(*kinds: str) -> Source:
    return Source(set(kinds), lambda: tuple(UnverifiedEvidence(kind, b"report") for kind in kinds))


def fails(kind: str, message: str = "the device is busy") -> Source:
    def answer() -> tuple[UnverifiedEvidence, ...]:
        raise UnavailableError(Reason.EVIDENCE_MISSING, message)

    return Source({kind}, answer)


def collect(sources: list[Source], wanted: list[str]) -> list[str]:
    return [piece.kind for piece in collect_evidence(sources, wanted, BINDING)]


def test_only_what_is_wanted_is_asked_for_and_each_kind_once() -> None:
    first, second, third = gives("snp"), gives("snp"), gives("tpm", "azure-snp")
    assert collect([first, second, third], ["snp", "tpm"]) == ["snp", "tpm"]
    assert [first.asked, second.asked, third.asked] == [1, 0, 1]


def test_a_source_without_hardware_leaves_the_kind_to_the_next() -> None:
    assert collect([Source({"snp"}, tuple), gives("snp")], ["snp"]) == ["snp"]


def test_a_source_that_fails_takes_nothing_from_the_others() -> None:
    assert collect([fails("snp"), gives("tpm")], ["snp", "tpm"]) == ["tpm"]


def test_a_pod_with_none_of_what_is_wanted_says_so_and_what_to_do() -> None:
    with pytest.raises(RefusedError, match=r"wants evidence \(snp, tdx\).*nodes with such hardware") as caught:
        collect([gives("tpm"), Source({"snp"}, tuple)], ["snp", "tdx"])
    assert caught.value.reason is Reason.EVIDENCE_MISSING
    with pytest.raises(RefusedError, match="of no kind at all"):
        collect([gives("tpm")], [])


def test_a_source_that_is_there_and_fails_is_an_outage() -> None:
    with pytest.raises(UnavailableError, match=r"evidence \(snp\) cannot be had: the device is busy") as caught:
        collect([fails("snp")], ["snp"])
    assert caught.value.reason is Reason.EVIDENCE_MISSING


def test_more_pieces_than_a_message_holds_are_refused() -> None:
    many = Source({"nvidia-gpu"}, lambda: (UnverifiedEvidence("nvidia-gpu", b"x"),) * 25)
    with pytest.raises(RefusedError, match="there are 25 pieces of evidence, 24 allowed"):
        collect([many], ["nvidia-gpu"])


# --- the kernel


@needs_fuse
def test_the_kernel_signs_for_the_binding_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with serve_tsm(tmp_path, chip_source(CHIP)) as source:
        (piece,) = TsmReports(tmp_path).collect(BINDING)
        assert list(tmp_path.iterdir()) == []
    assert source.asked == [BINDING.digest(64)]
    assert (piece.kind, piece.report[0x50:0x90]) == ("snp", BINDING.digest(64))
    assert piece.certificates == CHIP.chain()


@needs_fuse
def test_a_table_of_certificates_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    source = TsmSource("sev_guest", lambda inblob: Report(CHIP.report(inblob), b"garbage"))
    with serve_tsm(tmp_path, source):
        (piece,) = TsmReports(tmp_path).collect(BINDING)
    assert piece.certificates == ()


@needs_fuse
def test_a_quote_of_tdx_comes_with_the_log_where_it_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "ccel").write_bytes(b"the log")
    root = tmp_path / "reports"
    root.mkdir()
    with serve_tsm(root, TsmSource("tdx_guest", lambda inblob: Report(b"quote of " + inblob))):
        (piece,) = TsmReports(root, tmp_path / "ccel").collect(BINDING)
        (bare,) = TsmReports(root, tmp_path / "none").collect(BINDING)
    assert (piece.kind, piece.report) == ("tdx", b"quote of " + BINDING.digest(64))
    assert (piece.part("eventLog"), bare.extras) == (b"the log", ())


@needs_fuse
@pytest.mark.parametrize(("area", "sent"), [(b"the log" + b"\xff" * (1 << 20), True), (b"long" * 50_000, False)])
def test_a_log_is_sent_without_the_padding_of_its_area_unless_it_is_too_long(
    tmp_path: Path, area: bytes, sent: bool
) -> None:
    (tmp_path / "ccel").write_bytes(area)
    root = tmp_path / "reports"
    root.mkdir()
    with serve_tsm(root, TsmSource("tdx_guest", lambda inblob: Report(b"quote of " + inblob))):
        (piece,) = TsmReports(root, tmp_path / "ccel").collect(BINDING)
    assert piece.extras == ((("eventLog", b"the log" + b"\xff" * 4096),) if sent else ())


@needs_fuse
def test_a_report_that_somebody_else_asked_for_is_not_taken(tmp_path: Path) -> None:
    others = iter([b"theirs", b"theirs"])
    source = chip_source(CHIP)
    source.disturb = lambda: next(others, None)
    with serve_tsm(tmp_path, source):
        (piece,) = TsmReports(tmp_path).collect(BINDING)
    assert piece.report[0x50:0x90] == BINDING.digest(64)


@needs_fuse
def test_a_folder_in_which_somebody_always_writes_is_an_outage(tmp_path: Path) -> None:
    source = chip_source(CHIP)
    source.disturb = lambda: b"theirs"
    with serve_tsm(tmp_path, source), pytest.raises(UnavailableError, match=r"somebody else wrote .* in each of 5"):
        TsmReports(tmp_path).collect(BINDING)


def busy(_inblob: bytes) -> Report:
    raise OSError(errno.EBUSY, "busy")


@needs_fuse
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (busy, "Device or resource busy"),
        (lambda _inblob: Report(b""), "its answer cannot be read"),
        (lambda _inblob: Report(bytes(65 * 1024)), "its answer cannot be read"),
    ],
    ids=["busy", "empty", "huge"],
)
def test_a_kernel_that_gives_no_report_is_an_outage(
    tmp_path: Path, make: Callable[[bytes], Report], message: str
) -> None:
    with serve_tsm(tmp_path, TsmSource("sev_guest", make)), pytest.raises(UnavailableError) as caught:
        TsmReports(tmp_path).collect(BINDING)
    assert caught.value.reason is Reason.EVIDENCE_MISSING
    assert message in caught.value.message


@needs_fuse
def test_another_kind_of_guest_than_is_known_gives_nothing(tmp_path: Path) -> None:
    with serve_tsm(tmp_path, TsmSource("arm_cca_guest", busy)):
        assert TsmReports(tmp_path).collect(BINDING) == ()


def test_a_kernel_without_reports_gives_nothing(tmp_path: Path) -> None:
    assert TsmReports(tmp_path / "none").collect(BINDING) == ()
    assert TsmReports().kinds == {"snp", "tdx"}


# --- the guest's own agent


class Answers:
    """A web server that gives one answer and notes what it was asked."""

    def __init__(self, body: bytes, *, status: int = 200, keys: Keys | None = None) -> None:
        self.body, self.status, self.keys = body, status, keys
        self.asked: list[tuple[str, str, bytes]] = []
        self.port = 0

    @contextlib.contextmanager
    def serve(self) -> Iterator["Answers"]:
        import ssl  # noqa: PLC0415

        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes: the second would wait for an ACK

            def do_GET(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                outer.asked.append((self.path, self.headers.get("Authorization", ""), data))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(outer.body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            if self.keys:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.keys.certificate, self.keys.key)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def test_the_guests_agent_is_asked_in_text_that_the_binding_knows_again() -> None:
    bound = BINDING.digest(32).hex()
    report = CHIP.report(bound.encode())
    body = {"attestation_report": base64.b64encode(report).decode(), "cert_chain": None}
    with Answers(json.dumps(body).encode()).serve() as server:
        (piece,) = GuestAgent(port=server.port).collect(BINDING)
    assert server.asked[0][0] == f"/aa/evidence?runtime_data={bound}"
    assert piece.report == report
    assert BINDING.matches(piece.report[0x50:0x90])


def test_where_no_agent_of_a_guest_listens_there_is_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert GuestAgent(port=port).collect(BINDING) == ()


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"no", 500, "it answered 500"),
        (b"{}", 200, "is neither a report of SNP nor a quote of TDX"),
        (b" " * (513 * 1024), 200, "has more than 524288 bytes"),
    ],
)
def test_an_agent_of_a_guest_that_answers_nonsense_is_an_outage(body: bytes, status: int, message: str) -> None:
    with Answers(body, status=status).serve() as server, pytest.raises(UnavailableError) as caught:
        GuestAgent(port=server.port).collect(BINDING)
    assert caught.value.reason is Reason.EVIDENCE_MISSING
    assert message in caught.value.message


def test_something_else_at_the_port_of_the_guests_agent_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(100)
                peer.sendall(b"SSH-2.0\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UnavailableError, match="the guest's attestation agent gives no evidence: BadStatusLine"):
            GuestAgent(port=listener.getsockname()[1]).collect(BINDING)
        thread.join()


def test_who_drips_at_the_port_of_the_guests_agent_holds_nobody_up() -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                peer.recv(100)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not over.wait(0.02):
                    peer.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(UnavailableError, match=r"no whole answer within 0\.5 s"):
            GuestAgent(port=listener.getsockname()[1], total_seconds=0.5).collect(BINDING)
        over.set()
        thread.join()


# --- the node's attester


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return build_keys(tmp_path_factory.mktemp("tls"), NAME)


def access(tls: Keys, port: int, **changes: Any) -> ServerAccess:
    token = tls.ca.parent / "attester-token"
    token.write_text("attester-token-of-chat-0")
    facts: dict[str, Any] = {"what": "attester of the node", "unreachable": Reason.EVIDENCE_MISSING} | changes
    return ServerAccess(ServerAddress("127.0.0.1", port, NAME), token_file=token, ca_file=tls.ca, **facts)


@pytest.mark.parametrize(("size", "kind"), [(32, "tpm"), (64, "snp")])
def test_the_nodes_attester_is_asked_for_a_quote_over_the_binding(tls: Keys, size: int, kind: str) -> None:
    piece = UnverifiedEvidence(kind, b"quoted", extras=(("signature", b"s"),))
    body = json.dumps({"evidence": encode_evidence([piece])}).encode()
    with Answers(body, keys=tls).serve() as server:
        attester = NodeAttester(access(tls, server.port), size)
        assert attester.collect(BINDING) == (piece,)
    ((path, bearer, asked),) = server.asked
    assert (path, bearer) == ("/v1/quote", "Bearer attester-token-of-chat-0")
    assert json.loads(asked) == {"bindingDigest": base64.b64encode(BINDING.digest(size)).decode()}
    assert kind in attester.kinds


def test_quotes_and_reports_of_a_node_are_asked_for_apart_and_devices_are_the_pods(tls: Keys) -> None:
    quotes, reports = NodeAttester(access(tls, 1), 32).kinds, NodeAttester(access(tls, 1), 64).kinds
    assert (quotes & reports, reports) == (frozenset(), {"snp", "tdx"})
    assert not {"nvidia-gpu", "nvidia-switch"} & (quotes | reports)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (
            b'{"reason":"PodNotKnown","message":"not of this node"}',
            403,
            "not of this node; see whether sekisho-attester",
        ),
        (b"[]", 200, "answered something that is no evidence"),
        (b"{", 200, "answered something that is no evidence"),
        (b'{"evidence":[]}', 200, "evidence is not a list of 1 to 24 pieces"),
        (b" " * (1 << 21), 200, "the answer has more than 1048576 bytes"),
    ],
)
def test_an_attester_that_refuses_or_answers_nonsense_is_an_outage_with_a_next_step(
    tls: Keys, body: bytes, status: int, message: str
) -> None:
    with Answers(body, status=status, keys=tls).serve() as server, pytest.raises(SekishoError) as caught:
        NodeAttester(access(tls, server.port)).collect(BINDING)
    assert (caught.value.reason, caught.value.retry) == (Reason.EVIDENCE_MISSING, True)
    assert message in caught.value.message
    assert "runs on this pod's node" in caught.value.message


def test_a_node_without_an_attester_is_an_outage_with_a_next_step(tls: Keys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnavailableError, match="in namespace sekisho-system runs on this pod's node"):
        NodeAttester(access(tls, port)).collect(BINDING)


# --- GPUs


def test_without_a_drivers_library_there_is_nothing_and_no_other_kind_comes_from_there() -> None:
    gpus = NvidiaGpus("libthere-is-no-such-thing.so")
    assert (gpus.kinds, gpus.collect(BINDING)) == (frozenset({"nvidia-gpu"}), ())
