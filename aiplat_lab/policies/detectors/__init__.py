"""What personal data, payment data and keys look like: pure functions from a text to where something was found.

Patterns take time in proportion to the text, whatever stands in it, and none of them asks anybody. A checksum is checked where there
is one; where a pattern alone says too little, a word nearby must say the rest.
"""

from aiplat_lab.policies.detectors._detector import Detector, Finding, disjoint
from aiplat_lab.policies.detectors._injection import Suspicion, suspicion
from aiplat_lab.policies.detectors._pack import DETECTORS, chosen, detect

__all__ = ["DETECTORS", "Detector", "Finding", "Suspicion", "chosen", "detect", "disjoint", "suspicion"]
