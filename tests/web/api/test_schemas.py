"""JSON Schemas written from types."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from pulse.market.view import TradeView, View
from pulse.web.api.schemas import DETAILS, STRING, Json, Schemas, array, object_of, or_null, symbol_name


class Colour(Enum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Inner:
    """A nested type."""

    pairs: list[tuple[float, float]]


@dataclass
class Outer:
    """A type with every kind of field."""

    name: str
    count: int | None
    colour: Colour
    inner: Inner


@pytest.mark.parametrize("validator", [Draft7Validator, Draft202012Validator])
@pytest.mark.parametrize(
    ("field", "value", "is_valid"),
    [
        ("name", "x", True),
        ("name", None, False),
        ("count", None, True),
        ("count", 1.5, False),
        ("colour", "red", True),
        ("colour", "green", False),
        ("inner", {"pairs": [[1.0, 2]]}, True),
        ("inner", {"pairs": [[1.0]]}, False),
        ("inner", {"pairs": [[1.0, 2.0, 3.0]]}, False),
        ("inner", {"pairs": [["1", "2"]]}, False),
        ("inner", {}, False),
        ("more", 1, False),
    ],
)
def test_dataclass_schema_judges_values(validator: Any, field: str, value: object, is_valid: bool) -> None:
    """In both drafts that the API descriptions use."""
    schemas = Schemas()
    schema: Json = schemas.of(Outer) | {"components": {"schemas": schemas.found}}
    body = {"name": "", "count": 1, "colour": "blue", "inner": {"pairs": []}, field: value}

    assert validator(schema).is_valid(body) is is_valid


def test_every_field_is_required() -> None:
    """Messages carry all fields; null stands for an unknown value."""
    schemas = Schemas()
    schemas.of(Outer)

    assert schemas.found["Outer"]["required"] == ["name", "count", "colour", "inner"]


def test_details_narrow_a_field() -> None:
    """What a type does not express is added to its schema."""
    assert Schemas().properties(TradeView)["aggressor"] == {"type": "string", "enum": ["buyer", "seller"]}
    assert Schemas().properties(View)["bids"]["maxItems"] == 20


def test_details_belong_to_fields_that_exist() -> None:
    """A renamed field takes its details along, or this fails."""
    assert [name for kind, name in DETAILS if name not in kind.__annotations__] == []


def test_details_are_not_added_to_references() -> None:
    """Draft 7 ignores what stands beside a $ref."""
    assert [name for kind, name in DETAILS if "$ref" in Schemas().properties(kind)[name]] == []


def test_name_with_two_schemas_is_refused() -> None:
    """One would silently replace the other."""
    schemas = Schemas()
    schemas.named("Thing", STRING)
    schemas.named("Thing", {"type": "string"})

    with pytest.raises(ValueError, match="Thing"):
        schemas.named("Thing", array(STRING))


def test_type_that_json_cannot_hold_is_refused() -> None:
    """It is noticed when the document is written."""

    @dataclass
    class Strange:
        """It has a set."""

        names: set[str]

    for kind in (Strange, tuple[int, str], bytes):
        with pytest.raises(TypeError):
            Schemas().of(kind)


def test_object_has_optional_properties() -> None:
    """All others are required, and no others are allowed."""
    schema = object_of({"a": STRING, "b": or_null(STRING)}, optional=["b"])

    assert (schema["required"], schema["additionalProperties"]) == (["a"], False)
    assert Draft7Validator(schema).is_valid({"a": ""})


def test_symbols_are_examples() -> None:
    """Any listed symbol is valid, not the examples alone."""
    schema = symbol_name(["BTCUSDT"])

    assert schema["examples"] == ["BTCUSDT"]
    assert Draft7Validator(schema).is_valid("ethusdt")
