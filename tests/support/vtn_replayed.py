"""A server of OpenADR 3.1 that gives the answers another one gave, as they stand in a transcript of tests/golden/openadr.

A request is known by its method, path and search, a report by its event too; its answers come in the order in which they were
given, the last one for ever.
Tokens are minded as the real server did: whoever shows none, or one that was revoked, gets the refusal that is in the transcript.
"""

import json
from collections import defaultdict, deque
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tests.support.vtn import Answer, Vtn

GOLDEN = Path(__file__).parents[1] / "golden" / "openadr"
Row = dict[str, Any]


def rows_of(name: str) -> list[Row]:
    return [json.loads(line) for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]


def key_of(request: str, body: object = None) -> str:
    """Method, path and search in a fixed order, without the page; of a report also the event."""
    target, _, search = request.partition("?")
    return f"{target}?{urlencode(sorted(pair for pair in parse_qsl(search) if pair[0] not in ('skip', 'limit')))}#{_event_of(body)}"


def _event_of(body: object) -> str:
    return str(body["eventID"]) if isinstance(body, dict) and "eventID" in body else ""


def shape(value: object, key: str = "") -> object:
    """What a body is made of: names, kinds of values, and the words that mean something."""
    if isinstance(value, dict):
        return {name: shape(each, name) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return [key, sorted({json.dumps(shape(each)) for each in value})]
    if isinstance(value, str) and key in ("eventID", "clientName", "reportName", "resourceName", "venName", "objectType", "type"):
        return value
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


class ReplayedVtn(Vtn):
    """Serve as Vtn does; `enter` the steps of the transcript one after the other."""

    def __init__(self, rows: list[Row]) -> None:
        super().__init__()
        self.sent: list[tuple[str, object]] = []
        self.strange: list[str] = []
        self._rows = rows
        self._refusal = next(row["answer"] for row in rows if row.get("status") == 403)
        self._tokens = deque(row["answer"] for row in rows if row.get("request") == "POST /auth/token")
        # A report is looked for and renewed at other moments than in the recording, so these answers are known from the beginning.
        self._answers: dict[str, deque[Answer]] = {
            key_of(row["request"], row["body"]): deque([(row["status"], row["answer"])])
            for row in rows
            if row["from"] == "ven" and row["status"] == 200 and row["request"].startswith(("PUT ", "GET /reports"))
        }

    def enter(self, step: str) -> None:
        """Give the answers of this step from now on; where it has none, the last one of the steps before stays."""
        fresh: dict[str, deque[Answer]] = defaultdict(deque)
        for row in self._rows:
            if row["step"] == step and row["from"] == "ven" and row["status"] not in (None, 403, 409):
                fresh[key_of(row["request"], row["body"])].append((row["status"], row["answer"]))
        self._answers.update(fresh)

    def revoke(self) -> None:
        """No token given so far is good any more."""
        self.tokens.clear()

    def _answer(self, method: str, path: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Answer:
        if path == "/auth/server":
            return 200, {"tokenURL": f"{self.url}/auth/token"}
        if path == "/auth/token":
            self.tokens_given += 1
            answer = self._tokens.popleft() if len(self._tokens) > 1 else self._tokens[0]
            self.tokens.add(answer["access_token"])
            return 200, answer
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 403, self._refusal
        sent = json.loads(body) if body else None
        key = key_of(f"{method} {path}?{urlencode(query, doseq=True)}", sent)
        if sent is not None:
            self.sent.append((key, shape(sent)))
        known = self._answers.get(key)
        if known is None:
            self.strange.append(key)
            return self._problem(404, "not in the transcript")
        return known.popleft() if len(known) > 1 else known[0]
