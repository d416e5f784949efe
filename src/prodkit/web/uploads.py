"""Check the file of a form while its body still arrives: no temporary file, no second copy, no byte past the limit.

As a dependency of FastAPI, or called with a request in Starlette::

    photo = Upload(avatars, field="avatar", sanitise=True)

    @app.post("/avatar")
    async def avatar(form: Annotated[UploadForm, Depends(photo)]): ...      # FastAPI

    form = await photo(request)                                            # Starlette
"""

# No `from __future__ import annotations`: FastAPI reads the annotation of __call__, and needs the class itself.

import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field as default
from typing import Any, Final

from starlette.requests import Request

from prodkit.core.validate import Arguments
from prodkit.errors import FileProblem, InvalidError, InvalidFileError, MissingExtraError
from prodkit.files import CleanFile, Progress, Validator

__all__ = ["RefusedFile", "Upload", "UploadForm"]

_MAX_HEADER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file of the form that was refused.

    Args:
        place: of the file among the form's files, from 0.
        problems: why it was refused.
    """

    place: int
    problems: tuple[FileProblem, ...]


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form whose files were checked.

    Args:
        file: the accepted file, the first of several; None when the form has none.
        fields: the other fields by name; the last of each name.
        files: all accepted files, in the order of the form.
        refused: the files that were refused; always empty unless ``raise_refused=False``.
        complete: False when reading stopped behind a refused file: fields may be missing.
    """

    file: CleanFile | None
    fields: dict[str, str] = default(default_factory=dict[str, str])
    files: tuple[CleanFile, ...] = ()
    refused: tuple[RefusedFile, ...] = ()
    complete: bool = True

    @property
    def problems(self) -> tuple[FileProblem, ...]:
        """The problems of all refused files; empty when every file was accepted."""
        return tuple(each for refused in self.refused for each in refused.problems)


class Upload:
    """Read a ``multipart/form-data`` body with one file in it, or with several.

    Files go to the validator chunk by chunk, one after the other: when one is refused, the rest of the body is never
    read. One file too many, a file in another field, or a body that is not a form raise
    :class:`~prodkit.InvalidError`; a refused file raises :class:`~prodkit.InvalidFileError`.

    To show a form again with what the user wrote, let it return instead::

        photo = Upload(avatars, raise_refused=False, max_rest=1_000_000)
        form = await photo(request)
        if form.problems:
            return page(form.fields, form.problems)

    Args:
        validator: checks the file.
        field: name of the file's field.
        sanitise: re-encode a picture.
        required: refuse a form without a file.
        max_fields: number of other fields.
        max_field_bytes: size of each other field.
        max_files: files of the form, all in `field`. Each is held in memory until the form is complete.
        key: whose upload a request is, such as its user: while all workers are busy, keys take turns. None: all
            uploads are one queue.
        on_progress: called with the request and the stage of its current file.
        raise_refused: a refused file raises. With False the form is returned with its `refused` files and the fields
            before them; fields never go into an error, where a password could reach a log.
        max_rest: with ``raise_refused=False``, bytes of the body that are read behind the first refused file for its
            further fields and files, which are checked as well; 0 stops at the refusal.
    """

    def __init__(
        self,
        validator: Validator,
        *,
        field: str = "file",
        sanitise: bool = False,
        required: bool = True,
        max_fields: int = 50,
        max_field_bytes: int = 64 * 1024,
        max_files: int = 1,
        key: Callable[[Request], str] | None = None,
        on_progress: Callable[[Request, Progress], None] | None = None,
        raise_refused: bool = True,
        max_rest: int = 0,
    ) -> None:
        check = Arguments("Upload")
        check.instance("validator", validator, Validator, "a files.Validator")
        check.text("field", field)
        check.integer("max_fields", max_fields, minimum=0)
        check.integer("max_field_bytes", max_field_bytes, minimum=1)
        check.integer("max_files", max_files, minimum=1)
        check.function("key", key, optional=True)
        check.function("on_progress", on_progress, optional=True)
        check.integer("max_rest", max_rest, minimum=0)
        check.that(not (max_rest and raise_refused), "max_rest needs raise_refused=False")
        check.done()
        self.validator = validator
        self.field = field
        self.sanitise = sanitise
        self.required = required
        self.max_fields = max_fields
        self.max_field_bytes = max_field_bytes
        self.max_files = max_files
        self.key = key
        self.on_progress = on_progress
        self.raise_refused = raise_refused
        self.max_rest = max_rest

    async def __call__(self, request: Request) -> UploadForm:
        """Read the body of `request` to its end, or to the first reason to stop."""
        form = _Form(self, _boundary(request), request.stream())
        found: list[CleanFile] = []
        refused: list[RefusedFile] = []
        complete = True
        key = "" if self.key is None else self.key(request)
        report = None if self.on_progress is None else functools.partial(self.on_progress, request)
        try:
            async for part in form.files():
                count = len(found) + len(refused)
                if part.name != self.field or (count and self.max_files == 1):
                    raise InvalidError("the form has a file where none is expected")
                if count == self.max_files:
                    raise InvalidError(
                        f"the form has more than {self.max_files} files in its field {self.field!r}"
                    )
                try:
                    clean = await self.validator.check(
                        part.content(),
                        filename=part.filename,
                        declared_type=part.declared_type,
                        sanitise=self.sanitise,
                        key=key,
                        on_progress=report,
                    )
                except InvalidFileError as error:
                    if self.raise_refused:
                        raise
                    refused.append(RefusedFile(count, error.problems))
                    form.stop_after(self.max_rest)
                else:
                    found.append(clean)
        except _StoppedError:
            complete = False
        if not found and not refused and self.required:
            raise InvalidError(f"the form has no file in its field {self.field!r}")
        file = found[0] if found else None
        return UploadForm(file, form.fields, tuple(found), tuple(refused), complete)

    def __repr__(self) -> str:
        return f"Upload({self.validator!r}, field={self.field!r}, sanitise={self.sanitise})"


class _StoppedError(Exception):
    """As much was read behind a refused file as may be."""


class _Form:
    """One incoming body: the parser's events in the order of the body."""

    def __init__(self, upload: Upload, boundary: bytes, stream: AsyncIterator[bytes]) -> None:
        try:
            from python_multipart import multipart
            from python_multipart.exceptions import MultipartParseError
        except ImportError:
            raise MissingExtraError.named("python-multipart", "web") from None
        self.upload = upload
        self.stream = stream
        self.fields: dict[str, str] = {}
        self.events: list[tuple[str, bytes]] = []
        self.read = 0
        self.complete = False
        self.left: int | None = None
        self._error = MultipartParseError
        self._options = multipart.parse_options_header
        self._parser = multipart.MultipartParser(
            boundary,
            {
                "on_part_begin": lambda: self.events.append(("part", b"")),
                "on_header_field": lambda data, start, end: self.events.append(("name", data[start:end])),
                "on_header_value": lambda data, start, end: self.events.append(("value", data[start:end])),
                "on_header_end": lambda: self.events.append(("header", b"")),
                "on_headers_finished": lambda: self.events.append(("headers", b"")),
                "on_part_data": lambda data, start, end: self.events.append(("data", data[start:end])),
                "on_part_end": lambda: self.events.append(("end", b"")),
                "on_end": lambda: self.events.append(("over", b"")),
            },
            max_header_size=_MAX_HEADER_BYTES,
        )

    def stop_after(self, max_bytes: int) -> None:
        """Read no more than `max_bytes` from now on; the first call counts."""
        if not max_bytes:
            raise _StoppedError
        if self.left is None:
            self.left = max_bytes

    async def next(self) -> tuple[str, bytes]:
        """Return the next event; "over" once the form is complete."""
        while self.read >= len(self.events):
            self.events.clear()
            self.read = 0
            if self.complete:
                return "over", b""
            chunk = await anext(self.stream, None)
            if chunk is None:
                raise InvalidError("the form ends too soon")
            if self.left is not None:
                self.left -= len(chunk)
                if self.left < 0:
                    raise _StoppedError
            if chunk:
                try:
                    self._parser.write(chunk)
                except self._error as error:
                    raise InvalidError("the form is damaged") from error
        self.read += 1
        found = self.events[self.read - 1]
        self.complete = self.complete or found[0] == "over"
        return found

    async def files(self) -> "AsyncIterator[_Part]":
        """Yield each part that is a file; collect the fields between them."""
        count = 0
        while True:
            kind, _ = await self.next()
            if kind == "over":
                return
            if kind != "part":
                raise InvalidError("the form is damaged")
            part = await self._headers()
            if part.filename is None:
                count += 1
                if count > self.upload.max_fields:
                    raise InvalidError(f"the form has more than {self.upload.max_fields} fields")
                self.fields[part.name] = await part.text(self.upload.max_field_bytes)
            elif not part.filename and await part.empty():
                continue  # a file input that the user left alone
            else:
                yield part
                async for _ in part.content():  # bytes that the reader left
                    pass

    async def _headers(self) -> "_Part":
        headers: dict[bytes, bytes] = {}
        name = value = b""
        while True:
            kind, data = await self.next()
            if kind == "name":
                name += data
            elif kind == "value":
                value += data
            elif kind == "header":
                headers[name.strip().lower()] = value
                name = value = b""
            elif kind == "headers":
                break
            else:
                raise InvalidError("the form is damaged")
        disposition, options = self._options(headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise InvalidError("the form has a part without a name")
        filename = options.get(b"filename")
        return _Part(
            self,
            _text(options[b"name"]),
            None if filename is None else _text(filename),
            _text(headers.get(b"content-type", b"")),
        )


class _Part:
    """One part of the form."""

    def __init__(self, form: _Form, name: str, filename: str | None, declared_type: str) -> None:
        self.form = form
        self.name = name
        self.filename = filename
        self.declared_type = declared_type
        self._ended = False
        self._peeked = b""

    async def content(self) -> AsyncIterator[bytes]:
        if self._peeked:
            peeked, self._peeked = self._peeked, b""
            yield peeked
        while not self._ended:
            kind, data = await self.form.next()
            if kind == "data":
                yield data
            elif kind == "end":
                self._ended = True
            else:
                raise InvalidError("the form is damaged")

    async def text(self, max_bytes: int) -> str:
        value = bytearray()
        async for data in self.content():
            value += data
            if len(value) > max_bytes:
                raise InvalidError(f"a field of the form has more than {max_bytes} bytes")
        return _text(bytes(value))

    async def empty(self) -> bool:
        async for data in self.content():
            self._peeked = data
            return False
        return True


def _boundary(request: Request) -> bytes:
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    for part in parameters.split(";"):
        key, _, value = part.partition("=")
        if (
            kind.strip().lower() == "multipart/form-data"
            and key.strip().lower() == "boundary"
            and value.strip()
        ):
            return value.strip().strip('"').encode("latin-1", "replace")
    raise InvalidError("the request is not a multipart/form-data form")


def _text(raw: Any) -> str:
    return bytes(raw).decode("utf-8", "replace")
