"""One question to one expert, before the expert is used: a job whose result is the answer."""

from __future__ import annotations

from loguru import logger

from advisory.council.prompts import expert_messages
from advisory.council.texts import reason_for
from advisory.worker.answers import Answer, Answerer
from advisory.worker.council import EXPERT_LIMIT
from advisory.worker.warm import imported
from prodkit import Deadline, jobs
from prodkit.errors import ProdkitError

__all__ = ["NAME", "trial_job"]

NAME = "trial"


def trial_job(claude: Answerer) -> jobs.Job[[str, str], Answer]:
    """The job. Its run belongs to a tenant, the account that asked; no table of the app knows it."""

    async def try_out(system: str, question: str) -> Answer:
        await imported("anthropic")

        async def ask() -> Answer:
            try:
                with Deadline.after(EXPERT_LIMIT):
                    reply = await claude.create(
                        max_tokens=800, system=system, messages=expert_messages(question)
                    )
            except ProdkitError as error:
                logger.warning("a trial gave no answer ({})", type(error).__name__)
                return Answer(reason=reason_for(error))
            return Answer(text=reply.text.replace("\x00", ""), model=reply.model)

        return await jobs.step.using(version=1)("answer", ask)

    return jobs.Job(try_out, name=NAME, attempts=3)
