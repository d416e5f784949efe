"""Talk with one expert: ask, read, stop, go on, ask again, take it home."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response

from advisory.council.chat import MAX_CHAT_QUESTION, Chat
from advisory.council.export import chat_as_markdown, chat_export_name
from advisory.council.model import Run
from advisory.pages.chat import DRAFT, chat_page, new_page, speakers_of
from advisory.pages.download import markdown_file
from advisory.pages.forms import Form, read_form
from advisory.pages.limits import CHAT, spending
from advisory.pages.paging import SIZE, Paging, page_of
from advisory.pages.visitor import redirect, session_of, signed_in
from advisory.services import services
from advisory.store.chat import StillAnsweringError
from advisory.store.users import User

__all__ = ["router"]

router = APIRouter(prefix="/conversas")
_WAIT = "Espere a resposta terminar, ou pare-a, antes de perguntar outra vez."


@router.get("")
async def listing(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    words = request.query_params.get("busca", "").strip()[:200]
    paging = await page_of(request, app.chats.history, by="changed_at", owner_id=user.id, words=words)
    first = not words and paging.number == 1
    deleted = await app.chats.history(user.id, deleted=True, limit=SIZE + 1) if first else []
    return app.pages.page(request, "chats.html", paging=paging, deleted=Paging(1, deleted), words=words)


@router.get("/apagadas")
async def bin_page(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    paging = await page_of(request, app.chats.history, by="changed_at", owner_id=user.id, deleted=True)
    return app.pages.page(request, "chats_deleted.html", paging=paging)


@router.get("/nova")
async def new(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    run = await _council(request, user, request.query_params.get("conselho", ""))
    question = session_of(request).pop(DRAFT, "") or request.query_params.get("pergunta", "")
    question = question[:MAX_CHAT_QUESTION]
    chosen = request.query_params.get("com", "")
    return await new_page(request, app, user, Form(values={"question": question}), run=run, chosen=chosen)


@router.post("")
async def begin(request: Request) -> Response:
    app, user = services(request), await signed_in(request)
    form = await read_form(request)
    run = await _council(request, user, form.values.get("council", ""))
    question = form.text("question", "Sua pergunta", least=2, most=MAX_CHAT_QUESTION)
    chosen = form.values.get("speaker", "")
    speaker = next((each for each in await speakers_of(app, user, run) if each.value == chosen), None)
    if speaker is None:
        form.errors["speaker"] = "Escolha com quem conversar."
    if form.errors or speaker is None:
        return await new_page(request, app, user, form, run=run, chosen=chosen)
    form_key = form.key()
    if form_key is not None and (first := await app.chats.sent(user.id, form_key)) is not None:
        return redirect(f"/conversas/{first}")
    async with spending(request, CHAT, user.id, app.chat_refunds) as use:
        chat_id, made = await app.chats.begin(
            user.id,
            name=speaker.name,
            role=speaker.role,
            system=speaker.system,
            avatar_id=speaker.avatar_id,
            expert_id=speaker.expert_id,
            run_id=run.id if run else None,
            about=run.question if run else "",
            opening=speaker.opening,
            question=question,
            form_key=form_key,
        )
        if not made:  # the same form, sent twice at once
            use.give_back()
    return redirect(f"/conversas/{chat_id}")


@router.get("/{chat_id}")
async def look(request: Request, chat_id: UUID) -> Response:
    chat = await _own(request, chat_id)
    return chat_page(request, services(request), chat)


@router.post("/{chat_id}")
async def ask(request: Request, chat_id: UUID) -> Response:
    chat, form = await _own(request, chat_id), await read_form(request)
    form.text("question", "Sua pergunta", least=2, most=MAX_CHAT_QUESTION)
    return await _asked(request, chat, form)


@router.post("/{chat_id}/editar")
async def edit(request: Request, chat_id: UUID) -> Response:
    """Another question in the place of one that was asked; what came after it is replaced too."""
    chat, form = await _own(request, chat_id), await read_form(request)
    position = form.values.get("position", "")
    turn = next((each for each in chat.turns if str(each.position) == position), None)
    if turn is None:
        raise HTTPException(404)
    form.text("question", "Sua pergunta", least=2, most=MAX_CHAT_QUESTION)
    return await _asked(request, chat, form, instead_of=turn.position)


@router.post("/{chat_id}/repetir")
async def repeat(request: Request, chat_id: UUID) -> Response:
    """The last question again, for another answer."""
    chat, form = await _own(request, chat_id), await read_form(request)
    if not chat.turns:
        raise HTTPException(404)
    form.values["question"] = chat.turns[-1].question
    return await _asked(request, chat, form, instead_of=chat.turns[-1].position)


@router.post("/{chat_id}/continuar")
async def go_on(request: Request, chat_id: UUID) -> Response:
    """The rest of an answer that is not whole."""
    app, user, chat = services(request), await signed_in(request), await _own(request, chat_id)
    if chat.turns and chat.turns[-1].may_continue and chat.deleted_at is None:
        async with spending(request, CHAT, user.id, app.chat_refunds) as use:
            if not await app.chats.go_on(user.id, chat_id):
                use.give_back()
    return redirect(f"/conversas/{chat_id}")


@router.post("/{chat_id}/parar")
async def stop(request: Request, chat_id: UUID) -> Response:
    """Stopping what has just finished is no error: the page shows how it ended."""
    app, user = services(request), await signed_in(request)
    if not await app.chats.stop(user.id, chat_id):
        await _own(request, chat_id)
    return redirect(f"/conversas/{chat_id}")


@router.post("/{chat_id}/apagar")
async def delete(request: Request, chat_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.chats.delete(user.id, chat_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Conversa apagada. Ela pode ser restaurada por 90 dias."
    session_of(request)["undo"] = f"/conversas/{chat_id}/restaurar"
    return redirect("/conversas")


@router.post("/{chat_id}/restaurar")
async def restore(request: Request, chat_id: UUID) -> Response:
    app, user = services(request), await signed_in(request)
    if not await app.chats.restore(user.id, chat_id):
        raise HTTPException(404)
    session_of(request)["notice"] = "Conversa restaurada."
    return redirect(f"/conversas/{chat_id}")


@router.get("/{chat_id}/exportar")
async def export(request: Request, chat_id: UUID) -> Response:
    chat = await _own(request, chat_id)
    return markdown_file(chat_as_markdown(chat), chat_export_name(chat))


async def _asked(request: Request, chat: Chat, form: Form, *, instead_of: int | None = None) -> Response:
    """Ask the question of `form`, once; show it again where it cannot be asked now."""
    app, user = services(request), await signed_in(request)
    if form.errors:
        return chat_page(request, app, chat, form)
    there = redirect(f"/conversas/{chat.id}")
    form_key = form.key()
    if chat.deleted_at is not None or (form_key is not None and await app.chats.asked(chat.id, form_key)):
        return there
    if chat.active is None:
        with suppress(StillAnsweringError):  # asked from another page, at this very moment
            async with spending(request, CHAT, user.id, app.chat_refunds) as use:
                if not await app.chats.ask(
                    user.id, chat.id, form.values["question"], instead_of=instead_of, form_key=form_key
                ):
                    use.give_back()
            return there
    form.errors["question"] = _WAIT
    return chat_page(request, app, chat, form, status=409)


async def _own(request: Request, chat_id: UUID) -> Chat:
    user = await signed_in(request)
    chat = await services(request).chats.get(user.id, chat_id)
    if chat is None:
        raise HTTPException(404)
    return chat


async def _council(request: Request, user: User, text: str) -> Run | None:
    """The finished council that a conversation goes on from; 404 for another's."""
    if not text:
        return None
    try:
        run = await services(request).runs.get(user.id, UUID(text))
    except ValueError:
        run = None
    if run is None or not run.finished or not run.tally.done:
        raise HTTPException(404)
    return run
