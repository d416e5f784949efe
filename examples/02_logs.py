"""One line an event, valid JSON, and no secret in it.

python examples/02_logs.py
"""

import json
import sys
import tempfile
from pathlib import Path

from loguru import logger

from prodkit import env, logs


class Settings(env.Settings):
    environment: env.Environment = "production"
    payment_key: env.Secret


def pay() -> None:
    raise ValueError(f"refused: {settings.payment_key.reveal()}")


settings = Settings.load({"PAYMENT_KEY": "a-made-up-payment-key"})

with (
    tempfile.TemporaryDirectory() as folder,
    logs.setup(environment=settings.environment, secrets=settings, directory=folder, stream=sys.stdout),
):
    with logs.context(request_id="r-1"):
        logger.info("connecting to postgresql://shop:hunter2@db/shop")
        logger.bind(headers={"Authorization": "Bearer hunter2"}, cpf="529.982.247-25").info("request")
        try:
            pay()
        except ValueError:
            logger.exception("payment failed")

    # The files hold the same lines: all of them for 7 days, errors for 30.
    written = {path.name.split(".")[0]: path.read_text().splitlines() for path in Path(folder).iterdir()}
    assert len(written["service"]) == 3
    assert [json.loads(line)["error"] for line in written["errors"]] == ["ValueError"]
    assert "hunter2" not in str(written)
    assert "made-up" not in str(written)
