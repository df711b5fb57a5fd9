"""The one exception that a user can cause."""


class GuideError(Exception):
    """Something the user can put right: its message is one clear sentence that says what to do.

    It stays on one line whatever the names in it hold.

    >>> print(GuideError("There is no photo at two\\nlines.jpg; check the path."))
    There is no photo at two\\nlines.jpg; check the path.
    """

    def __str__(self) -> str:
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in super().__str__())
