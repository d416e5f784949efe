"""One's own account: its data to take away, and its end."""

from __future__ import annotations

import json
from typing import Any

from prodkit import postgres

__all__ = ["Account"]

_EXPORT = """
select json_build_object(
    'conta', (select json_build_object('nome', name, 'email', email, 'criada_em', created_at) from users where id = $1),
    'especialistas', (select coalesce(json_agg(json_build_object('nome', name, 'papel', role, 'objetivos', goals,
        'estilo', style, 'criado_em', created_at, 'removido_em', deleted_at) order by id), '[]')
        from experts where owner_id = $1),
    'personas', (select coalesce(json_agg(json_build_object('nome', name, 'quem_e', role, 'objetivos', goals,
        'estilo', style, 'perfil', profile, 'criada_em', created_at, 'removida_em', deleted_at) order by id), '[]')
        from personas where owner_id = $1),
    'pesquisas', (select coalesce(json_agg(json_build_object('tipo', kind, 'sobre', subject, 'descricao', context,
        'situacao', status, 'criada_em', created_at, 'fontes', (select json_agg(json_build_object('fonte', name,
            'situacao', status, 'texto', text, 'citacoes', items, 'motivo', reason) order by position)
            from research_sources where research_id = researches.id)) order by created_at), '[]')
        from researches where owner_id = $1),
    'conselhos', (select coalesce(json_agg(json_build_object('pergunta', question, 'situacao', status,
        'criado_em', created_at, 'apagado_em', deleted_at, 'sintese', synthesis, 'concordancia', agreement,
        'revisoes', (select json_agg(json_build_object('especialista', position, 'ordem', ranking, 'motivo', reason)
            order by position) from reviews where run_id = runs.id),
        'links', (select json_agg(json_build_object('criado_em', created_at, 'vale_ate', expires_at))
            from shares where run_id = runs.id),
        'pareceres', (select json_agg(json_build_object('nome', name, 'papel', role, 'situacao', status,
            'texto', text, 'motivo', reason, 'modelo', model) order by position) from seats where run_id = runs.id))
        order by created_at), '[]') from runs where owner_id = $1),
    'conversas', (select coalesce(json_agg(json_build_object('com', name, 'papel', role, 'sobre', about,
        'criada_em', created_at, 'apagada_em', deleted_at,
        'perguntas', (select json_agg(json_build_object('pergunta', question, 'resposta', answer, 'situacao', status,
            'motivo', reason, 'modelo', model, 'substituida_em', replaced_at) order by position, created_at)
            from chat_turns where chat_id = chats.id)) order by created_at), '[]') from chats where owner_id = $1)
)::text"""


class Account:
    """The rights of the owner of an account under LGPD: a copy of the data, and deletion."""

    def __init__(self, db: postgres.Pool) -> None:
        self._db = db

    async def export(self, user_id: int) -> dict[str, Any]:
        """Everything that is kept about the account, without password hash and sessions."""
        found: dict[str, Any] = json.loads(await self._db.fetchval(_EXPORT, user_id))
        return found

    async def delete(self, user_id: int) -> bool:
        """Remove the account and all that belongs to it, at once and for good. Councils in progress are stopped."""
        async with self._db.transaction() as tx:
            await tx.execute(
                """update prodkit_jobs set status = 'cancelled', fence = fence + 1, finished_at = now()
                   where status in ('queued', 'running', 'waiting')
                     and id in (select job from runs where owner_id = $1
                         union select job from researches where owner_id = $1
                         union select job from chat_turns join chats on chats.id = chat_id where owner_id = $1)""",
                user_id,
            )
            return bool(await tx.fetchval("delete from users where id = $1 returning true", user_id))
