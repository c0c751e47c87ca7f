"""What makes a job fail with a reason, as opposed to a bug, which ends the process."""


class LearningError(Exception):
    """The job cannot be done as it was asked for; the message says why."""


class UnusableFile(LearningError):
    """A tensor file is not what was declared: undecodable, wrong names, shapes or types, or not finite."""
