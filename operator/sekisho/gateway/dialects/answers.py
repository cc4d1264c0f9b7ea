"""Answers of engines on their way back: examined piece by piece, told in the caller's dialect. Pure."""

from typing import Literal, NamedTuple, Protocol

from sekisho.errors import Reason

Voice = Literal["content", "reasoning", "refusal", "tool_arguments", "tool_name"]


class Channel(NamedTuple):
    """One text that an answer tells piece by piece.

    Attributes:
        tool: Which tool call of the choice, None for what is no tool's.
    """

    choice: int
    kind: Voice
    tool: int | None = None


class TextFilter(Protocol):
    """Examines and changes the texts of one answer; what it cannot judge yet it holds back."""

    def feed(self, channel: Channel, piece: str) -> str:
        """Return what may go on by now of everything fed to the channel.

        Raises:
            SekishoError: The answer must end here.
        """
        ...

    def finish(self, channel: Channel) -> str:
        """Return what was held back; called before the channel's end is told. A channel may begin again after it.

        Raises:
            SekishoError: The answer must end here.
        """
        ...

    def spares(self, answer: bytes) -> bool:
        """Tell whether a whole answer, as the engine spelt it, holds nothing to examine or to change."""
        ...


class Shortcut(Protocol):
    """Tells events of which nothing changes but one text.

    Attributes:
        before: What such an event has before its text.
        after: What it has after it, the empty line at its end included.
    """

    before: bytes
    after: bytes

    def tell(self, inside: bytes) -> bytes | None:
        """Return what the caller is told of such an event, by what stands in it; None: the event has to be fed.

        Raises:
            SekishoError: The answer must end here.
        """
        ...


class Answerer(Protocol):
    """Turns what an engine says into what the caller is told; one for each answer.

    Whatever raises leaves nothing of what was being read: the answer ends with `fail`.
    """

    @property
    def usual(self) -> "Shortcut | None":
        """How usual events are told for now; None: every event is fed. Whoever uses it asks anew for each event."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take whole events of the engine's stream, return events of the caller's dialect.

        Raises:
            UnavailableError: UpstreamFailed: an event is malformed or of a type that is not known.
        """
        ...

    def end(self) -> bytes:
        """Return what is left to say after the engine's last event.

        Raises:
            UnavailableError: UpstreamFailed: the engine did not finish.
        """
        ...

    def fail(self, reason: Reason, message: str) -> bytes:
        """Return the last words of a stream that has begun and cannot go on."""
        ...

    def complain(self, words: str) -> str:
        """Take the words by which an engine refuses a request, return what of them the caller is told.

        Raises:
            SekishoError: They must not be told.
        """
        ...

    def whole(self, body: bytes) -> bytes:
        """Take an answer that is no stream, return the caller's.

        Raises:
            UnavailableError: UpstreamFailed: it is malformed.
        """
        ...
