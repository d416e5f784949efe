"""HTTP clients that survive their servers: a resilient transport for httpx and httpx2."""

from prodkit.http.transport import HostPolicies, ResilientTransport

__all__ = ["HostPolicies", "ResilientTransport"]
