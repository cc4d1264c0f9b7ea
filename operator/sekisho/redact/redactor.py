"""One thing to hold for whoever redacts: what a policy asks for, a tenant's own entries, and what knows names."""

from collections.abc import Callable
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.redact.categories import BY_TAGGER, Selection
from sekisho.redact.custom import Custom
from sekisho.redact.detect import Detector, Tagger
from sekisho.redact.placeholders import ConversationKey
from sekisho.redact.session import Find, Redaction
from sekisho.redact.spans import Span

Session: Final = Redaction


class Redactor:
    """Look into texts, and open a session for each request; of one selection, for many requests and threads.

    Args:
        selection: What a policy's words came to.
        custom: The tenant's own words and patterns.
        names: What knows names of people and places; needed where the selection holds `person` or `place`.

    Attributes:
        detector: What looks.

    Raises:
        RefusedError: `PolicyInvalid`, names are asked for and nothing here knows any.
    """

    __slots__ = ("detector",)

    def __init__(self, selection: Selection, custom: Custom | None = None, names: Tagger | None = None) -> None:
        lacking = sorted(selection.categories & BY_TAGGER)
        if lacking and names is None:
            raise RefusedError(
                Reason.POLICY_INVALID,
                f"the policy asks for {' and '.join(lacking)}, and no dictionary of names is loaded here; load one, or "
                "take the word out of the policy",
            )
        self.detector = Detector(selection.categories, custom, names)

    def inspect(self, text: str) -> tuple[Span, ...]:
        """Return what is found in a text, without overlaps, by offsets of the text itself."""
        return self.detector.detect(text)

    def new_session(self, key: ConversationKey | Callable[[], ConversationKey], find: Find | None = None) -> Redaction:
        """Begin one request's redaction; it must not outlive the request.

        Args:
            key: Of its placeholders, or what derives it.
            find: What `inspect` comes to, where more is known of the request's texts; None: `inspect` itself.
        """
        return Redaction(find or self.detector.detect, key)
