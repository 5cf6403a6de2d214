"""Parts of an OpenAPI 3.1 document that describe one operation: its parameters and its answers."""

from pulse.web.api.schemas import INTEGER, STRING, Json, Schemas, array, object_of
from pulse.web.problems import MEDIA_TYPE

UNKNOWN_SYMBOL = "The exchange lists no such symbol."
WRONG_PARAMETER = "A parameter is wrong."
STORE_UNAVAILABLE = "The store cannot be reached."


def get(summary: str, answers: Json, *parameters: Json) -> Json:
    """Return the description of a path that answers GET."""
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": answers}}


def query(name: str, description: str, schema: Json, *, required: bool = False) -> Json:
    """Return the description of a query parameter."""
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def answer(description: str, schema: Json, media_type: str = "application/json") -> Json:
    """Return the description of an answer."""
    return {"description": description, "content": {media_type: {"schema": schema}}}


def problems(schemas: Schemas, descriptions: dict[int, str]) -> Json:
    """Return the descriptions of answers that are RFC 9457 problems, by status."""
    problem = schemas.named(
        "Problem",
        object_of(
            {
                "type": STRING, "title": STRING, "status": INTEGER, "detail": STRING, "parameter": STRING,
                "allowed": {"anyOf": [STRING, array(STRING)]},
            },
            optional=("parameter", "allowed"),
        ),
    )  # fmt: skip
    return {str(status): answer(text, problem, MEDIA_TYPE) for status, text in descriptions.items()}
