"""Files of an installed package, read without importing it, and only if they are those that were looked at."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from regsearch.errors import UserError


@dataclass(frozen=True)
class Package:
    """A package of data files.

    The version is fixed, the package's own list of its files must be the known one, and a file must have the digest
    that the list gives it: what else lies in an environment is not opened.

    Args:
        name, version: on the package index.
        root, end: how the paths of the data files begin and end.
        listed: SHA-256 of the sorted lines `path,sha256=...` of all files below `root` in the package's RECORD.
        install: the command that installs it.
    """

    name: str
    version: str
    root: str
    end: str
    listed: str
    install: str

    def digests(self, source: str) -> dict[str, str]:
        """List the digest of each file by its path without `root` and `end`, sorted.

        Raises:
            UserError: the package is missing, another version, or its list of files is not the known one.
        """
        installed = self._installed(source)
        lines, named = [], {}
        for file in installed.files or ():
            path = file.as_posix()
            if path.startswith(self.root) and file.hash is not None:
                lines.append(f"{path},{file.hash.mode}={file.hash.value}")
                if path.endswith(self.end):
                    named[path.removeprefix(self.root).removesuffix(self.end)] = file.hash.value
        if hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() != self.listed:
            what = f"the list of files of {self.name} is not the known one, and none of them is opened"
            raise UserError(what, key="data.source", value=source, allowed=f"install it again: {self.install}")
        return dict(sorted(named.items()))

    def content(self, name: str, source: str) -> bytes:
        """Read the file that `digests` lists under `name`.

        Raises:
            UserError: as of `digests`; the file was changed.
        """
        wanted = self.digests(source)[name]
        content = Path(str(self._installed(source).locate_file(f"{self.root}{name}{self.end}"))).read_bytes()
        if base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode() != wanted:
            allowed = f"install it again: {self.install}"
            raise UserError("the file was changed, and is not opened", key="data.source", value=source, allowed=allowed)
        return content

    def _installed(self, source: str) -> Distribution:
        try:
            package = distribution(self.name)
        except PackageNotFoundError:
            what = f"the package {self.name} is missing"
            raise UserError(what, key="data.source", value=source, allowed=self.install) from None
        if package.version != self.version:
            what = f"{self.name} {package.version} is installed, and {self.version} is what was checked"
            raise UserError(what, key="data.source", value=source, allowed=self.install)
        return package
