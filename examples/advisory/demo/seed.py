"""Puts the demo's data there, once; what is there stays."""

from __future__ import annotations

import secrets

from advisory.demo.data import DEMO_EMAIL, DEMO_NAME, EXAMPLE_PERSONA
from advisory.services import Services
from advisory.store.seeds import seed_experts
from advisory.store.users import User

__all__ = ["seed"]


async def seed(services: Services) -> User:
    """Add experts, the demo account and its persona. The password is random: the demo signs in without one."""
    await seed_experts(services.experts)
    found = await services.users.with_hash(DEMO_EMAIL)
    if found is not None:
        return found[0]
    password_hash = await services.passwords.hash(secrets.token_urlsafe(24))
    user = await services.users.add(email=DEMO_EMAIL, name=DEMO_NAME, password_hash=password_hash)
    await services.personas.add(owner_id=user.id, **EXAMPLE_PERSONA)
    return user
