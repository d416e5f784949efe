"""Suites for implementations of your own: subclass one in your tests, say how to make yours, and run pytest.

::

    class TestMyPolicy(PolicyContract):
        def make_policy(self) -> Policy:
            return MyPolicy()
"""

from __future__ import annotations

from prodkit.testing.contracts.jobs import JobsContract
from prodkit.testing.contracts.policies import PolicyContract
from prodkit.testing.contracts.provider import ProviderContract
from prodkit.testing.contracts.shared_state import SharedStateContract

__all__ = ["JobsContract", "PolicyContract", "ProviderContract", "SharedStateContract"]
