"""A backup that was restored before it was needed: dump, verify, restore, prune; on a real server of its own.

python examples/14_backup.py
"""

import asyncio
import tempfile

import asyncpg

import prodkit as pk
from prodkit import backup
from prodkit.testing.servers import Postgres


async def main(url: str, directory: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "create table expert (id int primary key, name text); insert into expert values (1, 'Ana')"
    )
    await connection.close()

    made = await backup.dump(url, directory)
    print("made", made.path.name, made.tables)
    made = await backup.verify(made.path, url=url)  # in a throw-away database
    print("verified", made.verified)

    try:
        await backup.restore(made.path, url)
    except pk.BackupError as error:
        print("refused:", error)
    print("restored", (await backup.restore(made.path, url + "_copy")).tables)

    print("pruned", (await backup.prune(directory)).removed)
    print("health:", (await backup.Status(directory).check()).status)


if __name__ == "__main__":
    with Postgres() as server, tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(server.url, directory))
