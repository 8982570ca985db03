"""Every scenario of the public catalogue of Stratum V2 interoperability has a test here that carries its id."""

import re
from pathlib import Path

# Scenarios for each message, as the catalogue counts them (GEN: of no single message).
CATALOGUE = {
    "GEN": 14,
    "C-SC": 8,
    "C-SCS": 2,
    "C-SCE": 2,
    "M-OSMC": 3,
    "M-OSMCS": 3,
    "M-OEMC": 3,
    "M-OEMCS": 6,
    "M-OMCE": 1,
    "M-UC": 1,
    "M-UCE": 2,
    "M-CC": 6,
    "M-SEP": 1,
    "M-SSS": 8,
    "M-SSE": 8,
    "M-SSOK": 2,
    "M-SSERR": 2,
    "M-NMJ": 5,
    "M-NEMJ": 9,
    "M-SNPH": 3,
    "M-SCMJ": 2,
    "M-ST": 3,
    "M-SGC": 2,
    "X0001-REQ": 1,
    "X0001-REQS": 3,
    "X0001-REQE": 3,
}
_ID = re.compile(r"(?:gen|c_[a-z]+|m_[a-z]+|x0001_[a-z]+)_\d+")


def test_every_id_of_the_catalogue_has_a_test() -> None:
    wanted = {f"{group}-{number}" for group, count in CATALOGUE.items() for number in range(1, count + 1)}
    found = set()
    for path in Path(__file__).parent.glob("test_v2_conformance_*.py"):
        for name in re.findall(r"def test_(\w+)", path.read_text(encoding="utf-8")):
            found |= {each.upper().replace("_", "-") for each in _ID.findall(name)}
    assert found == wanted
