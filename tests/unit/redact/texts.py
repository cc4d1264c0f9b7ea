"""Short cuts for tests of detection."""

from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector

DETECTOR = Detector(frozenset(Category))


def found(text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.category.value) for span in DETECTOR.detect(text)]
