"""The outcome is a string that events can carry."""

import pickle

from prodkit.core.outcome import Outcome


def test_five_kinds() -> None:
    assert [str(each) for each in Outcome] == ["ok", "failed", "throttled", "cancelled", "neutral"]
    assert Outcome("throttled") is Outcome.THROTTLED
    assert Outcome.OK == "ok"
    assert pickle.loads(pickle.dumps(Outcome.FAILED)) is Outcome.FAILED
