"""The API's description: true for whatever a fuzzer sends, complete in the docs, and read without the internet."""

import re
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from proxy.web.auth import Access
from proxy.web.context import WebContext
from proxy.web.reference import reference
from proxy.web.server import build_app
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, bearer, local_client
from tests.proxy.web.test_auth import ROUTES
from tests.proxy.web.thread_server import thread_server

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "broken"])
def test_whatever_is_sent_the_answer_is_a_documented_one(mode: GenerationMode) -> None:
    asked = 0
    with thread_server(FakeSite(Clock())) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/schema/openapi.json")
        for found in schema.get_all_operations():
            operation = found.ok()
            if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
                continue  # nothing in it can be broken

            @given(operation.as_strategy(generation_mode=mode))
            @settings(max_examples=12, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
            def ask(case: schemathesis.Case) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(headers=bearer("operator"), checks=CHECKS)

            ask()
    assert asked > 50


async def test_the_schema_page_asks_nothing_of_other_sites() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        page = await client.get("/schema")
        description = (await client.get("/schema/openapi.json")).json()
    assert "://" not in page.text
    assert description["openapi"].startswith("3.1")


def test_the_description_says_who_may_call_what() -> None:
    paths = build_app(WebContext(FakeSite(Clock()))).openapi_schema.to_schema()["paths"]
    for (method, route, _, _), access in ROUTES.items():
        operation = paths.get(re.sub(r":\w+}", "}", route), {}).get(method.lower())
        if operation is None:
            continue  # the page, its files and the streams are no part of the API's description
        roles = {role for entry in operation.get("security", []) for names in entry.values() for role in names}
        expected = {
            Access.OPEN: set(),
            Access.READ: {"viewer", "utility", "operator"},
            Access.DEMAND: {"utility", "operator"},
            Access.OPERATE: {"operator"},
        }[access]
        assert roles == expected, (method, route)
        assert operation["summary"]
        assert operation["description"]


def test_the_reference_page_is_up_to_date() -> None:
    page = Path("docs/reference/http.md").read_text()
    table = reference(build_app(WebContext(FakeSite(Clock()))))
    assert table in page, f"docs/reference/http.md lacks this table:\n{table}"
