"""What a bundle can lack."""

from sottovoce.errors import GateError


class BundleError(GateError):
    """A bundle is damaged, does not fit this machine, or does not do here what it says."""
