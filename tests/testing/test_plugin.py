import os
import subprocess
import sys
from pathlib import Path

SOURCE = str(Path(__file__).parents[2] / "src")


def run(tmp_path: Path, test: str, *options: str, conftest: str = "") -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_it.py").write_text(test)
    (tmp_path / "conftest.py").write_text(conftest)
    # Named here and nowhere else: where prodkit is installed its entry point would name it a second time.
    environment = {
        **os.environ,
        "PYTHONPATH": SOURCE,
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        f"--rootdir={tmp_path}",
    ]
    return subprocess.run(
        [*command, f"--rootdir={tmp_path}", *options, str(tmp_path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )


USES = "def test_it(runtime, event_log):\n    assert runtime.rng.random() > 1, 'always'\n"
GUARDED = (
    "import sys\n"
    "pytest_plugins = [] if 'prodkit.testing.plugin' in sys.modules else ['prodkit.testing.plugin']\n"
)


def test_a_failing_test_names_its_seed_and_the_seed_can_be_set(tmp_path: Path) -> None:
    done = run(tmp_path, USES, "-p", "prodkit.testing.plugin")
    assert "repeat with --prodkit-seed=" in done.stdout, done.stdout + done.stderr
    done = run(tmp_path, USES, "-p", "prodkit.testing.plugin", "--prodkit-seed=1234")
    assert "runtime seed 1234" in done.stdout


def test_it_may_be_named_twice_where_the_conftest_is_guarded(tmp_path: Path) -> None:
    good = "def test_it(runtime):\n    assert 0 <= runtime.rng.random() < 1\n"
    for options in ((), ("-p", "prodkit.testing.plugin")):
        done = run(tmp_path, good, *options, conftest=GUARDED)
        assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_loading_it_imports_no_third_party_but_pytest(tmp_path: Path) -> None:
    test = (
        "import sys\n"
        "def test_it():\n"
        "    heavy = {'anthropic', 'asyncpg', 'redis', 'pydantic', 'tenacity', 'prodkit.testing.servers'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    done = run(tmp_path, test, "-p", "prodkit.testing.plugin", "-p", "no:anyio")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
