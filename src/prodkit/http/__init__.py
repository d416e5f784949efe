"""A transport that puts the policies under an HTTP client, for each host by itself.

::

    client.get(url) -> ResilientTransport.handle_async_request
      host's pipeline, built once:  Retry -> breaker -> gate -> limit -> attempt
        attempt                     headers (X-Deadline-Ms, X-Request-ID, traceparent), Timeout
          -> the library's own transport -> response
      a response worth another attempt, or that speaks against the host, travels as an AttemptError
"""

from __future__ import annotations

from prodkit.http.policies import HostPolicies, default_policies, says_ill, says_overloaded
from prodkit.http.transport import ResilientTransport

__all__ = ["HostPolicies", "ResilientTransport", "default_policies", "says_ill", "says_overloaded"]
