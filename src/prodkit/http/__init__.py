"""HTTP clients that survive their servers: a resilient transport for httpx and httpx2."""

from prodkit.http.transport import (
    HostPolicies,
    ResilientTransport,
    default_policies,
    says_ill,
    says_overloaded,
)

__all__ = ["HostPolicies", "ResilientTransport", "default_policies", "says_ill", "says_overloaded"]
