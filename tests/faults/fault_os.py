"""An operating system that fails: stops the program, or reports an error, at a chosen operation.

While :class:`OsFaults` is active, every call of ``os`` that changes something below one directory is
counted. At operation ``at`` the program "dies" (:class:`Crash`, which no ``except Exception`` catches; from
then on nothing below the directory can be changed, so that no clean-up code runs that a killed process
would not run either), or the call fails with an ``OSError``.

The state before operation ``k + 1`` is the state after operation ``k``; dying before each operation and
after the last one therefore visits every state on disk. Writes are also torn: half of the bytes arrive.
"""

from __future__ import annotations

import builtins
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platestore.publish import targets

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Crash(BaseException):
    """The process is gone."""


class OsFaults:
    """Count the changes below a directory, and fail at one of them.

    Parameters
    ----------
    root : Path
        The directory; changes elsewhere are not counted.
    at : int, optional
        The operation to fail at, from 0; none by default.
    when : {"before", "after", "torn"}
        Whether the program dies before or after it, or (writes) with half of the bytes on disk.
    error : int, optional
        An ``errno``: the operation fails with it instead of stopping the program. Writes write half first.
    exchange : bool
        Whether the system can exchange two directories in one step.
    """

    def __init__(
        self,
        root: Path,
        at: int | None = None,
        *,
        when: str = "before",
        error: int | None = None,
        exchange: bool = True,
    ) -> None:
        self.root = os.path.realpath(root)
        self.at = at
        self.when = when
        self.error = error
        self.exchange = exchange
        self.log: list[tuple[str, str]] = []
        self.sources: dict[int, str] = {}
        self.refused: set[int] = set()
        self.dead = False
        self._mutex = threading.Lock()
        self._files: dict[int, str] = {}
        self._saved: list[tuple[Any, str, Any]] = []

    # --- which calls ------------------------------------------------------------------------------

    def __enter__(self) -> OsFaults:
        for name in ("mkdir", "rmdir", "unlink", "remove", "truncate", "chmod", "utime"):
            self._patch(os, name, self._on_path)
        for name in ("rename", "replace", "link", "symlink"):
            self._patch(os, name, self._on_two)
        self._patch(os, "open", self._on_open)
        self._patch(os, "write", self._on_write)
        self._patch(os, "fsync", self._on_fsync)
        self._patch(os, "close", self._on_close)
        # zarr writes chunks through file objects.
        self._patch(io, "open", self._on_file)
        self._patch(builtins, "open", self._on_file)
        self._patch(targets, "_exchange", self._on_exchange)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for owner, name, real in reversed(self._saved):
            setattr(owner, name, real)
        self._saved.clear()

    def _patch(self, owner: Any, name: str, handler: Callable[..., Any]) -> None:
        real = getattr(owner, name)
        self._saved.append((owner, name, real))

        def patched(*args: Any, **kwargs: Any) -> Any:
            return handler(name, real, *args, **kwargs)

        setattr(owner, name, patched)

    def _on_path(self, name: str, real: Callable[..., Any], path: Any, *args: Any, **kwargs: Any) -> Any:
        return self._step(name, self._full(path, kwargs.get("dir_fd")), lambda: real(path, *args, **kwargs))

    def _on_two(self, name: str, real: Callable[..., Any], source: Any, target: Any, **kwargs: Any) -> Any:
        full = self._full(target, kwargs.get("dst_dir_fd"))
        origin = self._full(source, kwargs.get("src_dir_fd"))
        return self._step(name, full, lambda: real(source, target, **kwargs), source=origin)

    def _on_open(
        self, name: str, real: Callable[..., Any], path: Any, flags: int, *args: Any, **kwargs: Any
    ) -> Any:
        full = self._full(path, kwargs.get("dir_fd"))
        if not flags & _WRITING:
            descriptor = real(path, flags, *args, **kwargs)
        else:
            descriptor = self._step("create", full, lambda: real(path, flags, *args, **kwargs))
        if self._below(full):
            self._files[descriptor] = full
        return descriptor

    def _on_write(self, name: str, real: Callable[..., Any], descriptor: int, data: Any) -> Any:
        if descriptor not in self._files:
            return real(descriptor, data)
        half = memoryview(data)[: len(data) // 2]
        return self._step(
            name, self._files[descriptor], lambda: real(descriptor, data), lambda: real(descriptor, half)
        )

    def _on_fsync(self, name: str, real: Callable[..., Any], descriptor: int) -> Any:
        if descriptor not in self._files:
            return real(descriptor)
        return self._step(name, self._files[descriptor], lambda: real(descriptor))

    def _on_close(self, name: str, real: Callable[..., Any], descriptor: int) -> Any:
        self._files.pop(descriptor, None)
        return real(descriptor)

    def _on_file(self, name: str, real: Callable[..., Any], file: Any, *args: Any, **kwargs: Any) -> Any:
        mode = args[0] if args else kwargs.get("mode", "r")
        if isinstance(file, int) or not set(mode) & set("wax+"):
            return real(file, *args, **kwargs)
        return self._step("create", self._full(file), lambda: real(file, *args, **kwargs))

    def _on_exchange(self, name: str, real: Callable[..., Any], one: str, other: str) -> Any:
        if not self.exchange:
            return False
        return self._step("exchange", self._full(other), lambda: real(one, other), source=self._full(one))

    # --- what happens -----------------------------------------------------------------------------

    def _step(
        self,
        name: str,
        path: str,
        run: Callable[[], Any],
        half: Callable[[], Any] | None = None,
        source: str | None = None,
    ) -> Any:
        if not self._below(path):
            return run()
        with self._mutex:
            if self.dead:
                raise Crash
            index = len(self.log)
            self.log.append((name, os.path.relpath(path, self.root)))
            if source is not None:
                self.sources[index] = os.path.relpath(source, self.root)
            if index != self.at:
                try:
                    return run()
                except OSError:
                    self.refused.add(index)
                    raise
            if self.error is not None:
                if half is not None:
                    half()
                raise OSError(self.error, os.strerror(self.error), path)
            if self.when == "torn" and half is not None:
                half()
            elif self.when == "after":
                run()
            self.dead = True
            raise Crash(f"{self.when} operation {index}: {name} {path}")

    def _full(self, path: Any, descriptor: int | None = None) -> str:
        text = os.fspath(path)
        if descriptor is not None:
            text = os.path.join(
                self._files.get(descriptor) or os.readlink(f"/proc/self/fd/{descriptor}"), text
            )
        return os.path.abspath(text)

    def _below(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root + os.sep)
