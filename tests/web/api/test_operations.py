"""Parts of the OpenAPI document."""

from pulse.web.api.operations import answer, get, problems, query
from pulse.web.api.schemas import STRING, Schemas


def test_path_has_parameters_and_answers() -> None:
    """A path answers GET."""
    parameter = query("symbol", "Which.", STRING, required=True)
    path = get("The book.", {"200": answer("It.", STRING)}, parameter)

    assert path["get"]["responses"]["200"]["content"] == {"application/json": {"schema": STRING}}
    assert path["get"]["parameters"] == [
        {"name": "symbol", "in": "query", "required": True, "description": "Which.", "schema": STRING}
    ]


def test_problems_share_one_schema() -> None:
    """Statuses are keys in text, as OpenAPI wants them."""
    schemas = Schemas()
    found = problems(schemas, {400: "Wrong.", 503: "Full."}) | problems(schemas, {429: "Too many."})
    schema = {"$ref": "#/components/schemas/Problem"}

    assert list(found) == ["400", "503", "429"]
    assert all(one["content"] == {"application/problem+json": {"schema": schema}} for one in found.values())
    assert list(schemas.found) == ["Problem"]
