"""Create or update O Conselho on a Dokploy server through its API.

    python -m advisory.deploy.dokploy plan                    # print the requests, send nothing
    python -m advisory.deploy.dokploy apply --environment ID --repository URL --env-file .env

Dokploy reads no file of the repository but the Dockerfile, so these settings cannot be committed in another form. The
server's address is DOKPLOY_URL; the key comes from DOKPLOY_API_KEY and never stands in the arguments. Settings that
matter, and their reasons, are in docs/how-to/deploy-dokploy.md. Read from Dokploy v0.30.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SECOND: Final = 1_000_000_000  # Dokploy hands durations to Docker, which counts nanoseconds
NAME: Final = "conselho"
DOCKERFILE: Final = "examples/advisory/deploy/Dockerfile"
PORT: Final = 8000
STOP_GRACE: Final = 20  # seconds; longer than the app's own drain
SECRET_NAMES: Final = (
    "DATABASE_URL",
    "REDIS_URL",
    "ANTHROPIC_API_KEY",
    "PERPLEXITY_API_KEY",
    "YOUTUBE_API_KEY",
    "UNSPLASH_ACCESS_KEY",
    "SESSION_SECRET",
    "MAIL_URL",
    "OPERATOR_TOKEN",
    "POSTGRES_PASSWORD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)

HEALTH: Final[dict[str, Any]] = {
    "Test": ["CMD", "python", "-m", "advisory.deploy.healthcheck"],
    "Interval": 5 * SECOND,
    "Timeout": 3 * SECOND,
    "StartPeriod": 30 * SECOND,
    "Retries": 3,
}
UPDATE: Final[dict[str, Any]] = {
    "Parallelism": 1,
    "Delay": 0,
    "FailureAction": "rollback",
    "Monitor": 15 * SECOND,
    "MaxFailureRatio": 0,
    "Order": "start-first",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the API: the procedure and its input."""

    procedure: str
    input: dict[str, Any]

    def shown(self) -> str:
        """The request as JSON, with the values of secrets hidden."""
        body = dict(self.input)
        if "env" in body:
            body["env"] = "\n".join(_hidden(line) for line in str(body["env"]).splitlines())
        return json.dumps({self.procedure: body}, ensure_ascii=False, indent=2)


def _hidden(line: str) -> str:
    name, equals, _ = line.partition("=")
    return f"{name}=***" if equals and name in SECRET_NAMES else line


def plan(application: str, *, repository: str, branch: str, env: str) -> list[Call]:
    """Return the requests that configure and deploy an application that exists."""
    identity = {"applicationId": application}
    return [
        Call(
            "application.saveGitProvider",
            {
                **identity,
                "customGitUrl": repository,
                "customGitBranch": branch,
                "customGitBuildPath": "/",
                "watchPaths": ["src/**", "examples/advisory/**", "pyproject.toml"],
                "enableSubmodules": False,
            },
        ),
        Call(
            "application.saveBuildType",
            {
                **identity,
                "buildType": "dockerfile",
                "dockerfile": DOCKERFILE,
                "dockerContextPath": ".",
                "dockerBuildStage": "app",
                "herokuVersion": "24",
                "railpackVersion": "0.15.4",
            },
        ),
        Call(
            "application.saveEnvironment",
            # createEnvFile would write every secret into the build context
            {**identity, "env": env, "buildArgs": "", "buildSecrets": "", "createEnvFile": False},
        ),
        Call(
            "application.update",
            {
                **identity,
                "healthCheckSwarm": HEALTH,
                "updateConfigSwarm": UPDATE,
                "rollbackConfigSwarm": {**UPDATE, "FailureAction": "pause"},
                "stopGracePeriodSwarm": STOP_GRACE * SECOND,
                "replicas": 1,
                "memoryLimit": str(1024 * 2**20),
                "cpuLimit": str(SECOND),
            },
        ),
        Call("application.deploy", identity),
    ]


def environment_of(path: Path) -> str:
    """Return the assignments of an environment file, comments left out, and what the image needs in Dokploy."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    kept = [line for line in lines if line and not line.startswith("#") and "=" in line]
    names = {line.partition("=")[0] for line in kept}
    missing = [name for name in ("DATABASE_URL", "ANTHROPIC_API_KEY", "SESSION_SECRET") if name not in names]
    empty = [line.partition("=")[0] for line in kept if line.endswith("=")]
    if missing or empty:
        raise ValueError(f"{path}: set {', '.join([*missing, *empty])}")
    defaults = {"ENVIRONMENT": "production", "MIGRATE": "true", "FORWARDED_ALLOW_IPS": "10.0.0.0/8"}
    defaults["DRAIN_SECONDS"] = "3"  # until Swarm sends new connections elsewhere
    return "\n".join([*kept, *(f"{name}={value}" for name, value in defaults.items() if name not in names)])


class Server:
    """A Dokploy server. `key` is sent in a header and nowhere else."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key

    def call(self, call: Call) -> Any:
        """Send one request and return its answer; an error names the procedure and the server's message."""
        request = urllib.request.Request(
            f"{self._url}/api/{call.procedure}",
            data=json.dumps(call.input).encode(),
            headers={"Content-Type": "application/json", "x-api-key": self._key},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(
                f"{call.procedure}: HTTP {error.code}: {error.read(500).decode(errors='replace')}"
            ) from None
        return json.loads(text) if text else None


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="advisory.deploy.dokploy", description=__doc__)
    parser.add_argument("command", choices=("plan", "apply"))
    parser.add_argument(
        "--application", help="id of an application that exists; a new one is created without it"
    )
    parser.add_argument("--environment", help="id of Dokploy's environment, for a new application")
    parser.add_argument(
        "--repository", default="https://github.com/prodkit/prodkit.git", help="address of the Git repository"
    )
    parser.add_argument("--branch", default="main")
    parser.add_argument("--env-file", type=Path, help="the variables of settings.py, such as deploy/.env")
    chosen = parser.parse_args(arguments)
    try:
        env = environment_of(chosen.env_file) if chosen.env_file else ""
    except (OSError, ValueError) as error:
        print(f"dokploy: {error}", file=sys.stderr)
        return 2
    options = {"repository": chosen.repository, "branch": chosen.branch, "env": env}
    create = Call("application.create", {"name": NAME, "environmentId": chosen.environment or "ENVIRONMENT"})
    if chosen.command == "plan":
        calls = plan(chosen.application or "APPLICATION", **options)
        print("\n".join(call.shown() for call in (calls if chosen.application else [create, *calls])))
        return 0
    url, key = os.environ.get("DOKPLOY_URL", ""), os.environ.get("DOKPLOY_API_KEY", "")
    if not url or not key or not env or not (chosen.application or chosen.environment):
        print(
            "dokploy: set DOKPLOY_URL and DOKPLOY_API_KEY, and give --env-file and --environment (or --application)",
            file=sys.stderr,
        )
        return 2
    server = Server(url, key)
    try:
        application = chosen.application or str(server.call(create)["applicationId"])
        for call in plan(application, **options):
            server.call(call)
            print(f"{call.procedure}: done")
    except (RuntimeError, OSError, KeyError, TypeError) as error:
        print(f"dokploy: {error}", file=sys.stderr)
        return 1
    print(f"application {application} is being deployed; compare /version with the pushed commit")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
