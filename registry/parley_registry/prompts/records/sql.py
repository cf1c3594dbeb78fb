"""Prompts in the registry's own database, SQLite or PostgreSQL: a row a prompt, a row a text."""

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, text

from parley_registry.backends.sql.database import Database
from parley_registry.backends.sql.paging import paged
from parley_registry.backends.sql.transaction import Transaction
from parley_registry.entry import Agent
from parley_registry.prompts.prompt import Prompt, PromptKey, PromptVersion, VersionNote
from parley_registry.prompts.wire import prompt_json, read_prompt, read_version, version_json

_ONE = "namespace = :namespace AND name = :name"
_LOAD = text(f"SELECT about FROM prompts WHERE {_ONE}")
_ADD = text("""
    INSERT INTO prompts (namespace, name, revision, words, about)
    VALUES (:namespace, :name, :revision, :words, :about) ON CONFLICT (namespace, name) DO NOTHING RETURNING 1
""")
_CHANGE = text(f"""
    UPDATE prompts SET revision = :revision, words = :words, about = :about WHERE {_ONE} AND revision = :was
    RETURNING 1
""")
_DROP = text(f"DELETE FROM prompts WHERE {_ONE} AND revision = :was RETURNING 1")
_READ = text(f"SELECT body FROM prompt_texts WHERE {_ONE} AND digest = :digest AND version = :version")
_TEXTS = text(f"SELECT digest, version FROM prompt_texts WHERE {_ONE}")
_ADD_TEXT = text("""
    INSERT INTO prompt_texts (namespace, name, digest, version, body)
    VALUES (:namespace, :name, :digest, :version, :body)
    ON CONFLICT (namespace, name, digest, version) DO NOTHING
""")
_DROP_TEXT = text(f"DELETE FROM prompt_texts WHERE {_ONE} AND digest = :digest AND version = :version")


class SqlPrompts:
    """`record.PromptRecord` in a database that is open; changes are logged as of kind "prompt"."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, key: PromptKey) -> Prompt | None:
        """See `PromptRecord.load`."""
        return await self._database.glance(lambda db: _load(db, key))

    async def read(self, key: PromptKey, note: VersionNote) -> PromptVersion | None:
        """See `PromptRecord.read`."""
        wanted = {**key._asdict(), "digest": note.digest, "version": note.version}

        def run(db: Connection) -> PromptVersion | None:
            row = db.execute(_READ, wanted).fetchone()
            return read_version(orjson.loads(row[0])) if row else None

        return await self._database.glance(run)

    async def save(
        self, prompt: Prompt, was: Prompt | None, new: PromptVersion | None, concerning: str
    ) -> bool:
        """See `PromptRecord.save`."""

        def run(db: Transaction) -> bool:
            if was is None:
                done = db.one(_ADD, **_row(prompt))
            else:
                done = db.one(_CHANGE, **_row(prompt), was=was.revision)
            if not done:
                return False
            _settle(db, prompt, [new] if new else [])
            db.log("prompt", Agent(*prompt.key), concerning)
            return True

        return await self._database.write(run)

    async def drop(self, prompt: Prompt) -> bool:
        """See `PromptRecord.drop`."""

        def run(db: Transaction) -> bool:
            if not db.one(_DROP, **prompt.key._asdict(), was=prompt.revision):
                return False
            db.log("prompt", Agent(*prompt.key), "")
            return True

        return await self._database.write(run)

    async def page(
        self, namespace: str, words: Sequence[str], after: PromptKey | None, limit: int
    ) -> Sequence[Prompt]:
        """See `PromptRecord.page`."""
        statement, values = paged("prompts", "about", namespace, words, after, limit)
        found = await self._database.glance(lambda db: db.execute(statement, values).fetchall())
        return [read_prompt(orjson.loads(row[0])) for row in found]

    # -- for a mirror of another record
    async def copy(self, prompt: Prompt, texts: Sequence[PromptVersion], concerning: str = "") -> bool:
        """Keep a prompt as another record has it, whatever was kept here; False when it was kept like this already."""

        def run(db: Transaction) -> bool:
            here = _load(db.connection, prompt.key)
            if here == prompt:
                return False
            if here is None:
                db.do(_ADD, **_row(prompt))
            else:
                db.do(_CHANGE, **_row(prompt), was=here.revision)
            _settle(db, prompt, texts)
            db.log("prompt", Agent(*prompt.key), concerning)
            return True

        return await self._database.write(run)

    async def forget(self, key: PromptKey) -> bool:
        """The other record has no such prompt (any more); False when there was none here either."""
        here = await self.load(key)
        return here is not None and await self.drop(here)


def _load(db: Connection, key: PromptKey) -> Prompt | None:
    row = db.execute(_LOAD, key._asdict()).fetchone()
    return read_prompt(orjson.loads(row[0])) if row else None


def _row(prompt: Prompt) -> dict[str, object]:
    return {
        **prompt.key._asdict(),
        "revision": prompt.revision,
        "words": f"{prompt.name}\n{prompt.description}".lower(),
        "about": orjson.dumps(prompt_json(prompt)),
    }


def _settle(db: Transaction, prompt: Prompt, texts: Sequence[PromptVersion]) -> None:
    """Add texts, and let go of those that the prompt does not name."""
    key = prompt.key._asdict()
    for one in texts:
        body = orjson.dumps(version_json(one))
        db.do(_ADD_TEXT, **key, digest=one.digest, version=one.version, body=body)
    named = {(note.digest, note.version) for note in prompt.versions}
    for row in db.all(_TEXTS, **key):
        digest, version = row.digest, row.version
        if (digest, version) not in named:
            db.do(_DROP_TEXT, **key, digest=digest, version=version)
