"""Names of people and places by Presidio, an extra: `pip install "aiplat-lab[presidio]"`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.policies.detectors import Detector, Finding

MODEL = "en_core_web_sm"
"""The spaCy model that is asked; it is never fetched from here."""
_LIKELY = 0.5


def _by_presidio(text: str) -> Iterator[tuple[int, int]]:
    """Nothing: Presidio is asked once for all of its kinds."""
    return iter(())


NAMES = {
    "PERSON": Detector(name="person", title="name of a person, by Presidio", group="name", find=_by_presidio),
    "LOCATION": Detector(name="location", title="place, by Presidio", group="name", find=_by_presidio),
}
"""The detectors by Presidio's names of them."""


class Presidio:
    """Presidio's analyser with a spaCy model that is installed here.

    Raises:
        ConfigError: one of them is not installed.
    """

    def __init__(self) -> None:
        try:
            import spacy
            from presidio_analyzer import AnalyzerEngine
            from presidio_analyzer.nlp_engine import NlpEngineProvider
        except ImportError as error:
            raise ConfigError(
                f"redaction.presidio is true, and {error.name or 'presidio_analyzer'} is not installed: "
                'pip install "aiplat-lab[presidio]", '
                "or set redaction.presidio = false"
            ) from None
        if not spacy.util.is_package(MODEL):
            raise ConfigError(
                f"redaction.presidio is true, and spaCy's model {MODEL} is not installed: python -m spacy download {MODEL}, "
                "or set redaction.presidio = false"
            )
        models = [{"lang_code": "en", "model_name": MODEL}]
        engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
        self._analyser = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

    def find(self, texts: Iterable[str]) -> dict[str, list[Finding]]:
        """What is found in each text that holds anything."""
        found: dict[str, list[Finding]] = {}
        for text in texts:
            results = self._analyser.analyze(text=text, language="en", entities=list(NAMES), score_threshold=_LIKELY)
            if results:
                found[text] = [Finding(one.start, one.end, NAMES[one.entity_type]) for one in results]
        return found
