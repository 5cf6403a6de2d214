"""GET /api/gaps: the trades that are in no candle, because the exchange gave them no more."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from pulse.bars import Bars
from pulse.query import read_gap_query
from pulse.roster import Roster
from pulse.wire import gap_row

NEVER_KEPT = {"Cache-Control": "no-store"}


class Gaps:
    """The route."""

    def __init__(self, bars: Bars, roster: Roster) -> None:
        self._bars = bars
        self._roster = roster

    async def serve(self, request: Request) -> Response:
        """The gaps that are asked for, oldest first. Raises Problem or StoreUnavailable."""
        given = {name: request.query_params.getlist(name) for name in request.query_params}
        query = read_gap_query(given, self._roster)
        gaps = await self._bars.gaps(query.symbol, query.start_ms, query.end_ms, query.limit)
        return Response(orjson.dumps(list(map(gap_row, gaps))), headers=NEVER_KEPT, media_type="application/json")
