"""The image's health check: exit code 0 when the process wants traffic, 1 otherwise.

It asks for readiness, which is 503 while the database is away or the process drains; Redis being away only degrades it.
Standard library only, so that a check costs tens of milliseconds; the image has no curl.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

PATH = "/api/health/ready"
TIMEOUT = 2.5  # seconds; the HEALTHCHECK's own limit is 3


def main() -> int:
    port = os.environ.get("PORT", "8000")
    request = urllib.request.Request(f"http://127.0.0.1:{port}{PATH}", headers={"Host": "localhost"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError) as error:
        print(f"healthcheck: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
