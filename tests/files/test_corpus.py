import pytest

from prodkit import files


@pytest.mark.slow
async def test_every_real_image_is_accepted_and_survives_sanitising(
    avatars: files.Validator, corpus: list[tuple[dict[str, str], bytes]]
) -> None:
    refused = list[str]()
    for row, data in corpus:
        name, declared = row["declared_filename"], row["declared_mime"]
        try:
            clean = await avatars.check(data, filename=name, declared_type=declared)
            assert clean.content == data
            again = await avatars.check(data, filename=name, declared_type=declared, sanitise=True)
            twice = await avatars.check(
                again.content, filename=again.filename, declared_type=again.media_type
            )
            assert (twice.frames, twice.width, twice.height) == (again.frames, again.width, again.height)
            assert clean.frames == again.frames
        except files.InvalidFileError as error:
            refused.append(f"{row['file']}: {[each.code for each in error.problems]}")
    assert refused == []
