"""Ports in memory that keep their promises: what is read is what was written, and conflicts are real."""

import msgspec

from webhook.core.book import Book, Control
from webhook.errors import ClusterConflict, ClusterUnavailable


class FakeBook:
    """The verdict book; implements ``ports.VerdictBook`` and ``ports.ControlBook``.

    ``meanwhile`` are edits of the control object by somebody else, one just before each write, which then conflicts.
    """

    def __init__(self, control=None):
        self.content = Book(control=control or Control())
        self.meanwhile = []
        self.writes = 0
        self._version = self._read = 0
        self._silent = False

    def put(self, control):
        self.content = msgspec.structs.replace(self.content, control=control)
        self._version += 1
        self._silent = False

    def fall_silent(self):
        self._silent = True

    def control(self):
        return self.read().control

    def read(self):
        if self._silent:
            raise ClusterUnavailable("no answer")
        self._read = self._version
        return self.content

    def swap(self, new):
        self.write(self.content, msgspec.structs.replace(self.content, control=new))

    def write(self, old, new):
        if self.meanwhile:
            self.put(self.meanwhile.pop()(self.content.control))
        if self._read != self._version:
            raise ClusterConflict("written by somebody else", status=409)
        self.content = new
        self._version += 1
        self._read = self._version
        self.writes += 1
        return 1
