"""What is only so with trio_c."""

from typing import assert_type

import trio

assert_type(trio.install(), None)


def no_public_constructors() -> None:
    trio.Nursery()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.lowlevel.Task()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.lowlevel.TrioToken()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    trio.MemorySendChannel(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
