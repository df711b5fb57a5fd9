"""The one exception that a user can cause."""


class GuideError(Exception):
    """Something the user can put right: its message is one clear sentence that says what to do."""
