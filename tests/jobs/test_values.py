"""Values of runs."""

from uuid import UUID

from prodkit.jobs.values import new_id


def test_ids_are_of_version_7_and_grow_with_time() -> None:
    made = [new_id() for _ in range(50)]
    assert len(set(made)) == 50
    assert all(isinstance(each, UUID) and each.version == 7 for each in made)
    stamps = [each.int >> 80 for each in made]
    assert stamps == sorted(stamps)
