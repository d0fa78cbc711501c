"""What the standard library imports only when it is needed. In a running suite that is too late:
the interpreter was snapshotted before, and its library is not there."""

# ruff: noqa: F401

import _strptime  # type: ignore[import-not-found]
import encodings.ascii
import encodings.cp1252
import encodings.idna
import encodings.iso8859_1
import encodings.latin_1
import encodings.punycode
import encodings.utf_8_sig
import encodings.utf_16
import encodings.utf_32
import stringprep
