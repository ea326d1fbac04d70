"""What the server says of itself in OpenAPI is true: tried by requests that are made of it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

EXAMPLES = 20
# It would train, which has tests of its own.
LEFT_OUT = {("POST", "/v1/tuning")}
TRIED = {
    ("POST", "/v1/segment"),
    ("POST", "/v1/corrections"),
    ("GET", "/v1/model"),
    ("GET", "/v1/models"),
    ("DELETE", "/v1/tuning"),
    ("GET", "/metrics"),
}


@pytest.mark.filterwarnings("ignore::Warning")  # of Schemathesis's own
def test_answers_are_as_described(server):
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        name = (operation.method.upper(), operation.path)
        if name not in LEFT_OUT:
            tried.add(name)
            _try(operation)
    assert tried >= TRIED


def _try(operation):
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def answers_as_described(case):
        # That bytes are of a photo, a schema cannot say.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    answers_as_described()
