"""Cubin: checks that a file is a complete GPU ELF, and reads its sections and the names of its kernels."""

from __future__ import annotations

import struct

from attrs import field, frozen

_MAGIC = b"\x7fELF\x02\x01"
_EM_CUDA = 190
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SHT_NOBITS = 8


class DamagedCubin(ValueError):
    """The content is not a complete GPU ELF; the text says why."""


@frozen
class Section:
    """One section of an ELF file.

    Attributes:
        name: e.g. ``.text.KERNEL``.
        kind, flags, link, info, alignment, entry_size: the fields of its header.
        size: its size in bytes when loaded.
        content: its bytes in the file; empty for sections that only reserve memory (``.nv.global``).
    """

    name: str
    kind: int
    flags: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int
    content: bytes = field(repr=False)


def sections_of(content: bytes) -> tuple[Section, ...]:
    """All sections of a GPU ELF, in the order of its section table.

    Raises:
        DamagedCubin: not a GPU ELF, or cut short.
    """
    if not content.startswith(_MAGIC):
        raise DamagedCubin("not an ELF file" if content else "an empty file")
    if len(content) < _HEADER.size:
        raise DamagedCubin("the ELF header is cut short")
    header = _HEADER.unpack_from(content)
    machine, program_offset, section_offset = header[2], header[5], header[6]
    program_size, program_count, section_size, section_count, names_index = header[9:]
    if machine != _EM_CUDA:
        raise DamagedCubin(f"an ELF file for machine {machine}, not for a GPU ({_EM_CUDA})")
    if section_size != _SECTION.size or section_offset + section_count * section_size > len(content):
        raise DamagedCubin("the section table is cut short")
    if program_offset + program_count * program_size > len(content):
        raise DamagedCubin("the program table is cut short")
    headers = [_SECTION.unpack_from(content, section_offset + i * section_size) for i in range(section_count)]
    for _, kind, _, _, offset, size, *_ in headers:
        if kind != _SHT_NOBITS and offset + size > len(content):
            raise DamagedCubin("a section is cut short")
    if names_index >= len(headers):
        raise DamagedCubin("there are no section names")
    strings = content[headers[names_index][4] :][: headers[names_index][5]]
    return tuple(
        Section(
            strings[name:].partition(b"\0")[0].decode(errors="replace"),
            kind,
            flags,
            size,
            link,
            info,
            alignment,
            entry_size,
            b"" if kind == _SHT_NOBITS else content[offset : offset + size],
        )
        for name, kind, flags, _, offset, size, link, info, alignment, entry_size in headers
    )


def architecture_of(content: bytes) -> int:
    """The number of the architecture that a cubin is for, e.g. 90.

    CUDA 13 has raised the version of the ABI in the ELF header to 8, and moved the number in its flags.

    Raises:
        DamagedCubin: not a GPU ELF, or cut short.
    """
    sections_of(content)
    abi, flags = content[8], _HEADER.unpack_from(content)[7]
    return int(flags >> 8 if abi >= 8 else flags) & 0xFF


def kernels_in(content: bytes) -> tuple[str, ...]:
    """Mangled names of the kernels: the sections ``.text.NAME`` of the ELF.

    Raises:
        DamagedCubin: not a GPU ELF, or cut short.
    """
    names = (section.name for section in sections_of(content))
    return tuple(name.removeprefix(".text.") for name in names if name.startswith(".text."))


def single_kernel(content: bytes) -> str:
    """The mangled name of the kernel of a cubin, which must hold exactly one: DeepGEMM loads no others.

    Raises:
        DamagedCubin: not a GPU ELF, cut short, or not exactly one kernel.
    """
    names = kernels_in(content)
    if len(names) != 1:
        raise DamagedCubin(f"the cubin holds {len(names)} kernels, but DeepGEMM loads only cubins with one")
    return names[0]
