"""The base of all errors, and those that need no data of their own beyond a text."""

from __future__ import annotations

from typing import ClassVar

from attrs import define


class KregistryError(Exception):
    """Base of every error that is shown to the user as a message, without a traceback."""

    exit_code: ClassVar[int] = 1
    hint: str = ""

    @property
    def message(self) -> str:
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class InputError(KregistryError):
    """What the user wrote is wrong."""

    exit_code: ClassVar[int] = 2

    def __init__(self, text: str, hint: str = "") -> None:
        # Not an attrs class: the subclasses carry data of their own in place of these two.
        super().__init__(text, hint)
        self.text = text
        self.hint = hint

    @property
    def message(self) -> str:
        return self.text


@define
class MissingRequirement(KregistryError):
    """Something that the command needs is missing on the machine."""

    exit_code: ClassVar[int] = 3
    text: str
    hint: str = ""

    @property
    def message(self) -> str:
        return self.text


@define
class PluginError(KregistryError):
    """A plugin that could not be loaded or that broke its contract."""

    plugin: str
    version: str
    text: str
    hint: str = ""

    @property
    def message(self) -> str:
        return f"plugin {self.plugin} {self.version}: {self.text}"
