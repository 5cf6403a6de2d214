"""Tells Schemathesis what OpenAPI cannot state: rules between parameters, and which of the possible symbols exist.

Schemathesis loads this file by its path, from SCHEMATHESIS_HOOKS. Requests that are wrong on purpose stay as they are.
"""

import re
from typing import Any

from schemathesis import Case, GenerationMode, HookContext, hook

from pulse.web.params import LIMIT_MAX

SYMBOLS = ("BTCUSDT", "ETHUSDT", "solusdt")
"""Listed by the simulated exchange; clients may write them in small letters, except in topics."""
TOPIC_SYMBOL = re.compile(r"(^|,)([a-z]+)\.[^.,]+")


@hook
def map_case(_: HookContext, case: Case[Any]) -> Case[Any]:
    """Make a request that matches the document match the rest of the rules too."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return case
    for parameters in (case.query, case.path_parameters):
        name = parameters.get("symbol")
        if name is not None and name not in SYMBOLS:
            parameters["symbol"] = SYMBOLS[len(name) % len(SYMBOLS)]
    query = case.query
    if "topics" in query:
        query["topics"] = TOPIC_SYMBOL.sub(rf"\1\2.{SYMBOLS[0]}", query["topics"])
    if "start" in query and "end" in query:
        query["end"] = query["start"]
    is_stream = "start" in query and query.get("format", "json") != "json"
    if "limit" in query and not is_stream and int(query["limit"]) > LIMIT_MAX:
        query["limit"] = LIMIT_MAX
    return case
