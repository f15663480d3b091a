"""`dealsync init`: look at both accounts, ask, make what is missing, write both files at the end."""

from dealsync.setup.questions import SILENT, Option, Questions
from dealsync.setup.steps import SetUp, Wishes, begin, set_up

__all__ = ["SILENT", "Option", "Questions", "SetUp", "Wishes", "begin", "set_up"]
