"""Presidio's pattern engine over a file of prompts, each time a line is read; runs in an environment of its own.

Prints `ready`, then for each line of its input one line of JSON: seconds by the clock and of the processor, and spans.
"""

import json
import logging
import sys
import time
from pathlib import Path

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine

ENTITIES = ["CREDIT_CARD", "EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "IP_ADDRESS", "US_SSN"]
SCORE = 0.3  # what its patterns say without a word of context, which needs a model of the language


def build_analyzer() -> AnalyzerEngine:
    """Return the engine with its own patterns and a language that knows nothing but where words end."""
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


def main() -> None:
    """Answer until the input ends."""
    logging.disable(logging.CRITICAL)
    analyzer, prompts = build_analyzer(), json.loads(Path(sys.argv[1]).read_text("utf-8"))
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        spans = [find(analyzer, prompt) for prompt in prompts]
        masked = [mask(prompt, found) for prompt, found in zip(prompts, spans, strict=True)]
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"seconds": seconds, "spans": spans, "left": sum(map(len, masked))}), flush=True)


def find(analyzer: AnalyzerEngine, prompt: str) -> list[tuple[int, int, str]]:
    """Return what the engine finds, in the order of the text."""
    items = analyzer.analyze(prompt, language="en", entities=ENTITIES, score_threshold=SCORE)
    return sorted((item.start, item.end, item.entity_type) for item in items)


def mask(prompt: str, spans: list[tuple[int, int, str]]) -> str:
    """Put the name of what was found into its place."""
    parts, taken = [], 0
    for start, end, entity in spans:
        parts += [prompt[taken:start], f"<{entity}>"]
        taken = end
    return "".join([*parts, prompt[taken:]])


main()
