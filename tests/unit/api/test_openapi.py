"""The server does what its own description says: requests made from it get a documented status, no fault of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS

from corral.api.app import build
from corral.api.openapi import describe_application
from corral.runtime.settings import Settings
from tests.fakes.served import Serve, ServedFake

EXAMPLES = 10


def operation_ids() -> list[str]:
    """Every route of the application, as the document calls it."""
    app = build(Settings(models=Path("/nonexistent")), ServedFake())
    paths = describe_application(app)["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


@pytest.mark.parametrize("operation", operation_ids())
def test_every_answer_is_a_documented_one(serve: Serve, operation: str) -> None:
    served = serve()
    method, path = operation.split(" ", 1)
    schema = schemathesis.openapi.from_dict(served.request("GET", "/api/openapi.json").json())

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(case=schema[path][method].as_strategy())
    def ask(case: Any) -> None:
        response = case.call(base_url=served.service.base_url)
        case.validate_response(response, checks=[CHECKS.get_one("status_code_conformance")])
        assert "internal error" not in response.text

    ask()
