"""The one error that a user's mistake raises."""


class UserError(Exception):
    """A mistake that the user can put right.

    Its message is one line: what was given, what is allowed, what to do next. The command line
    prints it without a traceback and exits with status 2.
    """
