"""What type checkers see of the whole public surface, as a program.

`program()` asks for the type of every public name of Trio, and of every
attribute of every public class. `normalized()` takes out of the answers what
may differ between Trio and trio_c: where a class is defined, what its type
variables are called, in which order a union is written. What then still
differs is a difference that programs can notice.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types

import attrs

MODULES = "abc from_thread lowlevel socket testing to_thread".split()

# What to put into the brackets of generic classes.
ARGUMENTS = {
    "MemoryReceiveChannel": "int",
    "MemorySendChannel": "int",
    "SSLListener": "trio.SocketStream",
    "SSLStream": "trio.SocketStream",
    "StapledStream": "trio.SocketStream, trio.SSLStream[trio.SocketStream]",
    "TaskStatus": "int",
    "abc.Channel": "int",
    "abc.Listener": "trio.SocketStream",
    "abc.ReceiveChannel": "int",
    "abc.SendChannel": "int",
    "lowlevel.RunVar": "int",
    "lowlevel.RunVarToken": "int",
    "lowlevel.UnboundedQueue": "int",
    "open_memory_channel": "int",
}

PROTOCOLS = """
    __aenter__ __aexit__ __aiter__ __anext__ __bool__ __enter__ __exit__
    __iter__ __len__
    """.split()

# Attributes that only instances have.
OF_INSTANCES = {
    "Cancelled": "source source_task reason",
    "DTLSChannel": "endpoint peer_address",
    "DTLSEndpoint": "incoming_packets_buffer socket",
    "Nursery": "cancel_scope",
    "Process": "args pid stderr stdin stdio stdout",
    "SSLListener": "transport_listener",
    "SSLStream": "transport_stream",
    "SocketListener": "socket",
    "SocketStream": "socket",
    "testing.MemoryReceiveStream": "close_hook receive_some_hook",
    "testing.MemorySendStream": (
        "close_hook send_all_hook wait_send_all_might_not_block_hook"
    ),
}

_NO_CONSTRUCTOR = "has no public constructor, and calling it is an error here"
_NOT_A_GENERATOR = "an object of its own, which cannot be used as a decorator"

# What trio_c means to tell differently, and why.
MEANT = {
    "Cancelled": _NO_CONSTRUCTOR,
    "MemoryReceiveChannel": _NO_CONSTRUCTOR,
    "MemorySendChannel": _NO_CONSTRUCTOR,
    "Nursery": _NO_CONSTRUCTOR,
    "fail_after": _NOT_A_GENERATOR,
    "fail_at": _NOT_A_GENERATOR,
    "lowlevel.RunStatistics.io_statistics": "on one system there is one class",
    "lowlevel.RunVarToken": _NO_CONSTRUCTOR,
    "lowlevel.Task": _NO_CONSTRUCTOR,
    "lowlevel.TrioToken": _NO_CONSTRUCTOR,
    "open_memory_channel": "calling it gives a plain tuple, for mypy too",
    "socket.socketpair": "Trio's is partly unknown to pyright",
}


def questions() -> list[tuple[str, str, str]]:
    """(what is asked for, type of `value`, expression), for the trio that is
    installed."""
    found: list[tuple[str, str, str]] = []
    for module_name in ["", *MODULES]:
        prefix = f"{module_name}." if module_name else ""
        module = importlib.import_module(f"trio.{module_name}".rstrip("."))
        for name, value in sorted(vars(module).items()):
            if name.startswith("_") or isinstance(value, types.ModuleType):
                continue
            if name == "annotations" or (module_name == "socket" and name.isupper()):
                continue
            path = prefix + name
            found.append((path, "", f"trio.{path}"))
            if inspect.isclass(value) and value.__module__.startswith("trio"):
                annotation = f"trio.{path}"
                if path in ARGUMENTS:
                    annotation += f"[{ARGUMENTS[path]}]"
                for member in sorted(_members(path, value)):
                    found.append((f"{path}.{member}", annotation, f"value.{member}"))
    return found


def _members(path: str, cls: type) -> set[str]:
    names = {name for name in dir(cls) if not name.startswith("_")}
    names |= {name for name in PROTOCOLS if hasattr(cls, name)}
    names |= set(OF_INSTANCES.get(path, "").split())
    if attrs.has(cls):
        names |= {a.name for a in attrs.fields(cls) if not a.name.startswith("_")}
    return names


def program() -> tuple[str, dict[int, str]]:
    """The source, and what is asked for in which line."""
    lines = ["import trio", ""]
    where = {}
    for number, (question, annotation, expression) in enumerate(questions()):
        if annotation:
            lines.append(f"def f{number}(value: {annotation}) -> None:")
            lines.append(f"    reveal_type({expression})")
        else:
            lines.append(f"reveal_type({expression})")
        where[len(lines)] = question
    return "\n".join(lines) + "\n", where


def normalized(answer: str) -> str:
    """What mypy or pyright has answered, without what may differ."""
    # Modules; defaults, of which mypy shows only that there are any.
    answer = re.sub(r"\b(?:\w+\.)+(?=[A-Za-z_])", "", answer)
    answer = re.sub(r" = [^,()]+(?=[,)])", " =", answer)
    # Which Python versions a class is for.
    answer = re.sub(r"(ProcessArgs)3_\d+", r"\1", answer)
    # Type variables are numbered in the order in which they come.
    names: set[str] = set(re.findall(r"(\w+)[@`]", answer))
    for listed in re.findall(r"def \[([^\]]*)\]", answer):
        names |= {item.split()[0] for item in listed.split(",")}
    numbers: dict[str, str] = {}
    if names:
        alternatives = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        answer = re.sub(
            rf"\b({alternatives})\b(?:[@`][\w-]+)?",
            lambda match: numbers.setdefault(match[1], f"T{len(numbers)}"),
            answer,
        )
    # Of typed dictionaries, mypy forgets the order with the next run.
    answer = re.sub(r"\{('[^{}]*)\}", _sorted_items, answer)
    return re.sub(r"\w+(?: \| \w+)+", _sorted_union, answer)


def _sorted_items(match: re.Match[str]) -> str:
    items = re.split(r", (?=')", match[1])
    return "{" + ", ".join(sorted(items)) + "}"


def _sorted_union(match: re.Match[str]) -> str:
    members = set(match[0].split(" | "))
    return "object" if "object" in members else " | ".join(sorted(members))
