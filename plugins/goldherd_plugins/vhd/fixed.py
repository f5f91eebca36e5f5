"""A fixed VHD: a raw disk with a footer behind it."""

import uuid

from goldherd.block.file import FileImage
from goldherd.files.failed import Failure

from goldherd_plugins.vhd.describe import describe_survey, uuid_of
from goldherd_plugins.vhd.survey import Survey


class FixedVhd(FileImage):
    """The data of a fixed VHD; the footer behind it is out of a guest's reach."""

    parent = None

    def __init__(self, fd: int, survey: Survey, *, read_only: bool, failure: Failure | None = None) -> None:
        super().__init__(fd, survey.size_bytes, read_only=read_only, path=survey.path, failure=failure)
        self.survey = survey

    @property
    def uuid(self) -> uuid.UUID:
        """The footer's unique id, by which children know their parent."""
        return uuid_of(self.survey)

    @property
    def disk_type(self) -> int:
        """2, the type of a fixed disk."""
        return self.survey.footer.disk_type

    @property
    def kind(self) -> str:
        """ "fixed"."""
        return self.survey.kind

    def describe(self) -> dict[str, object]:
        """What people want to know about the disk."""
        return {**super().describe(), **describe_survey(self.survey)}
