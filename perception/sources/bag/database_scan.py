"""A database of rosbag2 (sqlite3), whole, cut off or damaged: by SQL up to the damage, then page by page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perception.sources.bag.bag_message import (
    PICTURES,
    BagMessage,
    BagTopic,
    Damage,
    Damages,
    Stored,
    line_of,
    listed_topics,
)
from perception.sources.bag.bag_place import journal_of
from perception.sources.bag.bag_types import Definition, decoded
from perception.sources.bag.database_pages import DatabasePages, is_cut_off
from perception.sources.source import SourceError

_ERRORS: Final = (sqlite3.Error, ValueError)
"""Of SQLite, and of its module for what SQLite says about bytes that are no text."""
_MESSAGES: Final = "SELECT id, topic_id, timestamp, data FROM messages WHERE topic_id IN ({}) ORDER BY id"


class DatabaseScan:
    """Messages are given in the order of their ids, that of recording.

    Args:
        path: of the file.

    Raises:
        SourceError: if there is no message in it, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._topics: dict[int, tuple[str, Definition]] = {}
        self._problem = ""
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?immutable=1", uri=True, check_same_thread=False
        )
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        try:
            self._pages: DatabasePages | None = None
            try:
                self._is_cut = is_cut_off(path)
                counted = self._described()
            except _ERRORS as error:
                self._problem = line_of(error)
                counted = self._described_by_pages()
            except OSError as error:
                raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
        except BaseException:
            self.close()
            raise
        self.types = {name: definition.type_name for name, definition in self._topics.values()}
        counts: dict[tuple[str, str], int] = {}
        for number, (name, definition) in self._topics.items():
            if definition.type_name in PICTURES and definition.is_read:
                key = (name, definition.type_name)
                counts[key] = counts.get(key, 0) + counted.get(number, 0)
        self.topics: list[BagTopic] = listed_topics(counts)

    def messages(self, topic: BagTopic) -> Iterator[BagMessage]:
        """As of `BagPart`."""
        chosen = {
            number: definition
            for number, (name, definition) in self._topics.items()
            if (name, definition.type_name) == (topic.name, topic.type_name)
        }
        damages = Damages(self._path)
        return decoded(self._stored(frozenset(chosen), damages), chosen.__getitem__, damages, topic.name)

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def _described(self) -> dict[int, int]:
        """Take topics and definitions; messages by topic id. Raises `_ERRORS`."""
        if self._is_cut:
            raise sqlite3.DatabaseError("it was cut off")
        ask = self._connection.execute
        tables = {name for (name,) in ask("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"topics", "messages"} <= tables:
            raise sqlite3.OperationalError("no tables of topics and messages")
        definitions = {}
        if "message_definitions" in tables:
            query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            definitions = {name: (str(form), str(fields)) for name, form, fields in ask(query)}
        topics = ask("SELECT id, name, type, serialization_format FROM topics")
        self._take({number: (str(a), str(b), str(c)) for number, a, b, c in topics}, definitions)
        return dict(ask("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))

    def _described_by_pages(self) -> dict[int, int]:
        pages = self._opened_pages()
        self._take(pages.topics, pages.definitions)
        if not pages.counts or not self._topics:
            what = "topics" if pages.counts else "messages"
            raise SourceError(f"{self._path}: holds no {what} that can be read: {self._problem}")
        return pages.counts

    def _take(self, topics: dict[int, tuple[str, str, str]], definitions: dict[str, tuple[str, str]]) -> None:
        for number, (name, type_name, encoding) in topics.items():
            form, fields = definitions.get(type_name, ("", ""))
            self._topics[number] = name, Definition(type_name, encoding, form, fields.encode())

    def _stored(self, ids: frozenset[int], damages: Damages) -> Iterator[Stored | Damage]:
        """The messages of topics, and the damage between them."""
        damages.end = journal_of(self._path) or ("it was cut off" if self._is_cut else "")
        last: int | None = None
        problem = self._problem
        if not problem:
            try:
                query = _MESSAGES.format(", ".join("?" * len(ids)))
                for rowid, number, log_ns, data in self._connection.execute(query, sorted(ids)):
                    last = rowid
                    is_whole = isinstance(log_ns, int) and isinstance(data, bytes)
                    yield Stored(number, log_ns, data) if is_whole else Damage("in a row of another form")
                return
            except _ERRORS as error:
                problem = line_of(error)
        if not self._is_cut:
            damages.add(f"as SQLite says: {problem}")
        for found in self._opened_pages().messages(ids, last):
            yield Damage("") if self._is_cut and isinstance(found, Damage) else found

    def _opened_pages(self) -> DatabasePages:
        if self._pages is None:
            try:
                self._pages = DatabasePages(self._path)
            except OSError as error:
                raise SourceError(f"{self._path}: cannot be read: {error.strerror}") from None
        return self._pages
