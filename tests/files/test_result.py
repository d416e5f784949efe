from __future__ import annotations

import copy
import pickle

from prodkit.files import CleanFile, Repair


def test_a_repair_survives_pickling_and_copying() -> None:
    tail = Repair("tail", "Data was removed.")
    for each in (pickle.loads(pickle.dumps(tail)), copy.deepcopy(tail)):
        assert each == "tail" == each.code
        assert each.message == "Data was removed."


def test_a_file_shows_no_content_in_its_repr() -> None:
    clean = CleanFile(b"secret content", "image/png", "png", "a.png", "00")
    assert "secret" not in repr(clean)
    assert clean.size == 14
