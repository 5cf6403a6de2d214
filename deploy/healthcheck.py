"""The container's health check: exits with 0 if the process beside it answers /healthz, with 1 and a reason if not.

It needs only Python's standard library, because the image has no other HTTP client.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 4.0
"""Below the time-out of the HEALTHCHECK in the Dockerfile, so that the reason is written."""


def main() -> int:
    """Ask once and return the exit code."""
    connection = HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 8000), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"no answer from /healthz: {str(error).strip() or type(error).__name__}\n")
        return 1
    finally:
        connection.close()
    if status != 200:
        sys.stderr.write(f"/healthz answered {status}, expected 200\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
