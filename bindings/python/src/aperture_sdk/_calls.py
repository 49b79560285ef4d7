"""Asynchronous calls of one client, and who waits for them: event loops, threads, or nobody.

A call ends with a completion. Whoever finds it first takes it from the library, an event loop in a batch (Reader) or a
thread that waits for one call (Call.join), and passes it on to whom it belongs (CallQueue.dispatch). Nothing here is
done by a thread of the library, and no thread is started.

A forked child has no part in the calls of its parent. There they are over, with the code ERROR_FORKED, and what the
parent needs to be woken is left alone: see CallQueue.disown.
"""

import asyncio
import contextlib
import ctypes
import itertools
import os
import sys
import threading
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Coroutine, Generator, Iterator
from threading import get_ident, main_thread
from typing import Any, Callable, Generic, Optional, TypeVar

from . import _abi
from ._abi import Code
from ._library import Library
from ._memory import Memories, Memory

# How long a thread stays in the library at once. In between, Python runs its signal handlers: this is how long Ctrl-C
# may take.
SLICE_NS = 100_000_000

_BATCH = 64

# Codes as plain numbers: they are compared with in every call.
OK = int(Code.OK)
INVALID_ARGUMENT = int(Code.ERROR_INVALID_ARGUMENT)
PENDING = int(Code.PENDING)

# What the library answers in a child about everything that its parent made.
FORKED = int(Code.ERROR_FORKED)

_Result = TypeVar("_Result")


def running_loop() -> Optional[AbstractEventLoop]:
    """Return the event loop that runs in this thread."""
    return asyncio._get_running_loop()


def on_main_thread() -> bool:
    """Say whether this is the thread in which Python runs signal handlers, so that it must not wait long in C."""
    return get_ident() == main_thread().ident


class Call:
    """One asynchronous call, from before it begins until its completion has been passed on."""

    __slots__ = (
        "__weakref__",
        "_joining",
        "_queue",
        "_readers",
        "_waiting",
        "after",
        "answer",
        "cancellable",
        "cancelled",
        "code",
        "done",
        "flow",
        "handle",
        "message",
        "tag",
    )

    def __init__(self, queue: "CallQueue") -> None:
        self._queue = queue
        self.cancelled = False
        self._readers: list[weakref.ref[Reader]] = []
        self._waiting = 0  # how many tasks of event loops wait
        self._joining = 0  # how many threads wait, or are about to pass the completion on
        self.tag = queue.next_tag()
        self.handle = 0
        self.cancellable = False
        self.done = False
        self.code = 0
        self.message = b""  # of an error
        self.flow = 0  # the handle of the flow that was started, until somebody takes it
        self.answer = 0  # the handle of what a look-up in the cache found, until somebody takes it
        self.after: Optional[Callable[[int], None]] = None

    def __del__(self) -> None:
        # Nobody wants what was started or found any more.
        if (self.flow or self.answer) and not sys.is_finalizing():
            self._queue.abandon(self.flow, self.answer)

    def of_parent(self) -> bool:
        """Say whether the call was begun before a fork, in the parent of this process. Then it is done here."""
        return self._queue.of_parent()

    def __await__(self) -> Generator[Any, None, None]:
        """Wait in the running event loop. If nobody waits any more, the call is cancelled."""
        if self.of_parent():
            return
        loop = asyncio.get_running_loop()
        reader = self._queue.watch(self, loop)
        if reader is None:
            while not self.done:
                yield from asyncio.sleep(0.01).__await__()
            return
        future: asyncio.Future[None] = loop.create_future()
        with self._queue.condition:
            if self.done:
                return
            reader.waiting[self.tag].append(future)
            self._waiting += 1
        try:
            yield from future
        except BaseException:  # also GeneratorExit, from a loop that was closed
            self.give_up(waiting=1)
            raise
        finally:
            with self._queue.condition:
                self._waiting -= 1
                if future in reader.waiting.get(self.tag, ()):
                    reader.waiting[self.tag].remove(future)

    def join(self) -> None:
        """Wait in this thread."""
        if self.of_parent():
            return
        with self._joined():
            while not self.done:
                self._take()

    def claim(self) -> None:
        """Take the completion of a call that was just cancelled, so that nothing is left of it."""
        with self._joined():
            self._take()

    @contextlib.contextmanager
    def _joined(self) -> Iterator[None]:
        with self._queue.condition:
            self._joining += 1
        try:
            yield
        finally:
            with self._queue.condition:
                self._joining -= 1

    def _take(self) -> None:
        """Wait a little for the completion, and pass it on unless another thread does that."""
        queue = self._queue
        completion = _abi.Completion(struct_size=ctypes.sizeof(_abi.Completion))
        try:
            code = queue.library.call_wait(self.handle, SLICE_NS, ctypes.byref(completion), None)
            if code == OK:
                queue.dispatch(completion)
            elif code == FORKED:
                queue.disown()
            elif code != Code.ERROR_TIMEOUT:
                self._was_taken()
        except BaseException:
            if completion.call:  # interrupted between taking it and passing it on
                queue.dispatch(completion)
            raise

    def _was_taken(self) -> None:
        """Wait a little for the thread that took the completion, or find that it was lost in a close."""
        queue = self._queue
        condition = queue.condition
        with condition:
            if not self.done and queue.closed and self._joining == 1:
                self.settle(Code.ERROR_CLOSED)
            elif not self.done:
                condition.wait(SLICE_NS / 1e9)

    def give_up(self, waiting: int) -> None:
        """Cancel the call if only so many tasks wait, and no thread: then nobody wants it any more."""
        with self._queue.condition:
            unwanted = self._waiting == waiting and not self._joining and not self.done
        if unwanted and self.cancellable:
            self.cancel()

    def cancel(self) -> None:
        """End the call early, at the agent too. The completion still comes, without a flow."""
        self.cancelled = True
        self._queue.library.call_cancel(self.handle, None)

    def settle(self, code: int, message: bytes = b"", flow: int = 0, answer: int = 0) -> None:
        """Say how the call ended, and wake who waits. It may be said again: an interrupt may come in between."""
        condition = self._queue.condition
        with condition:
            if not self.done:
                if self.cancelled:
                    self._queue.abandon(flow, answer)
                    code, message, flow, answer = Code.ERROR_CANCELLED, b"", 0, 0
                self.code = code
                self.message = message
                self.flow = flow
                self.answer = answer
                self.done = True
            condition.notify_all()
        for reference in self._readers:
            reader = reference()
            if reader is not None:
                reader.wake(self.tag)
        if self.after is not None:
            self.after(self.code)

    def watched_by(self, reader: "Reader") -> None:
        """Note that an event loop looks for the completion."""
        with self._queue.condition:
            if not self.done and self.tag not in reader.waiting:
                self._readers.append(weakref.ref(reader))
                reader.waiting[self.tag] = []


def _resolve(futures: "list[asyncio.Future[None]]") -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Batch:
    """Memory for completions that are taken at once, and how many of them were passed on."""

    __slots__ = ("completions", "completions_at", "count", "count_at", "passed")

    def __init__(self) -> None:
        self.completions = (_abi.Completion * _BATCH)()
        self.completions[0].struct_size = ctypes.sizeof(_abi.Completion)
        self.completions_at = ctypes.byref(self.completions)
        self.count = ctypes.c_size_t()
        self.count_at = ctypes.byref(self.count)
        self.passed = 0


class CallQueue:
    """The asynchronous calls of one client."""

    def __init__(self, library: Library, client: int) -> None:
        self.library = library
        self.client = client
        self.memories = Memories(self._enter_call)
        self.condition = threading.Condition()  # of all that its calls and readers share; it can be entered again
        self.next_tag = itertools.count(1).__next__  # 0 is the tag of what nobody waits for
        self._entered: dict[int, Call] = {}  # by tag; those with a handle are pending
        self.closed = False
        self._readers: weakref.WeakKeyDictionary[AbstractEventLoop, weakref.ref[Reader]] = weakref.WeakKeyDictionary()
        self._process = os.getpid()
        _queues.add(self)

    def of_parent(self) -> bool:
        """Say whether this was made before a fork, in the parent of this process. Then nothing is pending here.

        Python calls disown in a child, but not when a C program forked around it.
        """
        if self._process == os.getpid():
            return False
        self.disown()
        return True

    def disown(self) -> None:
        """Let go of what belongs to the parent of this process. It does not notice."""
        self._process = 0
        self.closed = True
        # A thread of the parent may have held the lock; here nobody would ever release it.
        self.condition = threading.Condition()
        calls = [call for call in self._entered.values() if call.handle and not call.done]
        self._entered.clear()
        for call in calls:
            call.code = FORKED
            call.done = True
        readers = [reference() for reference in self._readers.values()]
        self._readers.clear()
        for reader in readers:
            if reader is not None:
                reader.disown()
        for call in calls:
            if call.after is not None:
                call.after(FORKED)

    def keep(self, memory: Memory, loop: Optional[AbstractEventLoop], cancellable: bool) -> Call:
        """Keep the call of the memory, which is pending. The loop will look for its completion."""
        call = memory.spare
        call.cancellable = cancellable
        call.handle = memory.call.value
        memory.spare = self._enter_call()
        memory.call.value = 0
        if self.closed:
            call.settle(FORKED if self.of_parent() else Code.ERROR_CLOSED)
        elif loop is not None:
            try:
                self.watch(call, loop)
            except BaseException:
                call.cancel()
                raise
        return call

    def _enter_call(self) -> Call:
        """Return a call that may begin. It is entered before, because its completion may come at once."""
        call = Call(self)
        self._entered[call.tag] = call
        return call

    def recover(self, memory: Memory, cancel: bool) -> None:
        """Tidy up after an interrupt that came between a call of the library and the use of what it returned."""
        if memory.call.value:
            if cancel:
                self.library.call_cancel(memory.call.value, None)
            memory.call.value = 0
            memory.spare = self._enter_call()  # the other one stays entered until its completion comes
        if memory.flow.value or memory.answer.value:
            self.abandon(memory.flow.value, memory.answer.value)
            memory.flow.value = memory.answer.value = 0

    def abandon(self, flow: int, answer: int) -> None:
        """End a flow that nobody will use, as failed, without waiting; release what a look-up found.

        This takes no lock: finalizers call it.
        """
        library = self.library
        if flow:
            call = ctypes.c_uint64()
            library.flow_set_status(flow, _abi.FlowStatus.FLOW_STATUS_ERROR, None)
            library.flow_end_async(flow, 0, None, ctypes.byref(call), None)
            library.flow_close(flow, None)
        if answer:
            library.cache_answer_close(answer, None)

    def watch(self, call: Call, loop: AbstractEventLoop) -> "Optional[Reader]":
        """Let the running event loop look for the completion of a call, and return what looks.

        None means that the client is being closed: who closes it settles its calls.
        """
        reference = self._readers.get(loop)
        reader = reference() if reference is not None else None
        if reader is None or reader.removed:
            reader = self._open_reader(loop)
            if reader is None:
                return None
            with self.condition:
                self._readers[loop] = weakref.ref(reader)
        call.watched_by(reader)
        return reader

    def _open_reader(self, loop: AbstractEventLoop) -> "Optional[Reader]":
        descriptor = ctypes.c_int32(-1)
        error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
        code = self.library.client_completion_fd(self.client, ctypes.byref(descriptor), ctypes.byref(error))
        if code in (Code.ERROR_INVALID_HANDLE, Code.ERROR_CLOSED):
            return None
        if code != OK:
            raise self.library.failure(code, error)
        return Reader(self, loop, descriptor.value)

    def drain(self, batch: Batch) -> int:
        """Take all completions that wait and pass them on. Return OK, or why that is impossible."""
        try:
            return self._drain(batch)
        except BaseException:
            self._drain(batch)  # an interrupt: what was taken must not be lost
            raise

    def _drain(self, batch: Batch) -> int:
        full = True
        while True:
            # The lock makes one step of taking and passing on: see settle_all.
            with self.condition:
                while batch.passed < batch.count.value:
                    self.dispatch(batch.completions[batch.passed])
                    batch.passed += 1
                batch.count.value = 0
                batch.passed = 0
                if not full:
                    return OK
                code = self.library.client_poll(self.client, batch.completions_at, _BATCH, batch.count_at, None)
                if code != OK:
                    return code
                full = batch.count.value == _BATCH

    def dispatch(self, completion: _abi.Completion) -> None:
        """Pass a completion on to its call. A second time does nothing."""
        call = self._entered.get(completion.tag)
        if call is not None:
            code = completion.code
            started = completion.kind == _abi.CompletionKind.COMPLETION_START_FLOW
            message = b"" if code == OK else completion.message
            call.settle(code, message, completion.flow if started else 0, completion.answer)
            self._entered.pop(completion.tag, None)

    def join_all(self, but: Call) -> None:
        """Wait in this thread for all calls but one."""
        if self.of_parent():
            return
        for call in list(self._entered.values()):
            if call is not but and call.handle:
                call.join()

    def settle_all(self, code: int) -> None:
        """Settle what is left of a client that is closed or broken, except what a thread takes care of."""
        with self.condition:
            self.closed = True
            for tag, call in list(self._entered.items()):
                if call.handle and not call._joining:
                    call.settle(code)
                    self._entered.pop(tag, None)

    def shut(self) -> None:
        """Let no event loop look for completions any more. This takes no lock: finalizers call it."""
        for reference in list(self._readers.values()):
            reader = reference()
            if reader is not None:
                reader.shut()


_queues: "weakref.WeakSet[CallQueue]" = weakref.WeakSet()


def _after_fork() -> None:
    """Disown, in a child, what its parent had open. This starts nothing: most children never use it."""
    global _queues  # noqa: PLW0603
    inherited = list(_queues)
    _queues = weakref.WeakSet()  # the old one may be in the middle of something that no thread will finish
    for queue in inherited:
        queue.disown()


os.register_at_fork(after_in_child=_after_fork)


class Reader:
    """Looks for completions in one event loop.

    Only the loop keeps it alive, and with it the futures of those who wait there. So a loop that is closed or forgotten
    takes them along, and the calls that nobody else waits for are cancelled.
    """

    def __init__(self, queue: CallQueue, loop: AbstractEventLoop, descriptor: int) -> None:
        self._queue = queue
        self._loop = weakref.ref(loop)
        self._descriptor = descriptor
        self._batch = Batch()
        self.waiting: dict[int, list[asyncio.Future[None]]] = {}  # by tag of the call
        self.removed = False
        loop.add_reader(descriptor, self._ready)

    def __del__(
        self, finalizing: Callable[[], bool] = sys.is_finalizing, close: Callable[[int], None] = os.close
    ) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and not finalizing():
            close(descriptor)

    def disown(self) -> None:
        """Let go of a loop and a descriptor that a child has inherited; those who wait in it find a call that is done.

        The child has the same epoll object as its parent, and what it removed from there would be gone for its parent.
        So the descriptor is closed first: the loop forgets it then without being able to touch that object. Nothing is
        read from it either, which would take the wake-up from the parent.
        """
        descriptor, self._descriptor = self._descriptor, -1
        self.removed = True
        loop = self._loop()
        waiting = list(self.waiting.values())
        self.waiting.clear()
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            # The loop may be closed, or have been in the middle of anything in another thread.
            with contextlib.suppress(Exception):
                if loop is not None:
                    loop.remove_reader(descriptor)
        for futures in waiting:
            with contextlib.suppress(Exception):
                _resolve(futures)

    def _ready(self) -> None:
        if self._queue.of_parent():
            return
        wanted = bool(self.waiting)
        code = self._queue.drain(self._batch)
        if code == FORKED:
            self._queue.disown()
            return
        if code not in (OK, Code.ERROR_INVALID_HANDLE):
            self._queue.settle_all(code)
        if code != OK or not wanted:
            # A wake-up for another loop ends an idle reader. Until there is one, it costs less to stay than to come
            # and go with every call.
            self._remove()

    def _remove(self) -> None:
        self.removed = True
        loop = self._loop()
        if self._descriptor >= 0 and not self._queue.of_parent() and loop is not None and not loop.is_closed():
            loop.remove_reader(self._descriptor)

    def shut(self) -> None:
        """Stop to look; called in any thread."""
        loop = self._loop()
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                # The descriptor must leave the loop before it is closed, or the loop would spin.
                loop.call_soon_threadsafe(self._remove)

    def wake(self, tag: int) -> None:
        """Wake who waits for a call; called in any thread."""
        loop = self._loop()
        futures = self.waiting.get(tag)
        if futures and loop is not None:
            if loop is running_loop():
                _resolve(futures)
            else:
                with contextlib.suppress(RuntimeError):  # the loop is closed, and with it who waited
                    loop.call_soon_threadsafe(_resolve, list(futures))
        self.waiting.pop(tag, None)


class Outcome(Coroutine[Any, Any, _Result], Generic[_Result]):
    """What a call of a client returns: it can be used at once, or awaited, as often as one likes.

    It is a coroutine too, so that asyncio.create_task and TaskGroup.create_task take it. Each task that runs it waits
    on its own.
    """

    __slots__ = ("_call", "_steps")

    _call: Optional[Call]  # None when there is nothing to wait for
    _steps: Optional[dict[Any, Generator[Any, None, _Result]]]

    def _settle(self) -> None:
        """Take over what the call has brought. May be called more than once."""
        raise NotImplementedError

    def _result(self) -> _Result:
        """Return what await returns, or raise what went wrong."""
        raise NotImplementedError

    def _join(self) -> None:
        """Wait in this thread until the outcome is known."""
        call = self._call
        if call is not None:
            call.join()
            self._settle()

    def __await__(self) -> Generator[Any, None, _Result]:
        call = self._call
        if call is not None:
            yield from call.__await__()
            self._settle()
        return self._result()

    def send(self, value: Any) -> Any:
        """Take a step for the task that runs this as a coroutine."""
        return self._step(lambda steps: steps.send(value))

    def throw(self, *error: Any) -> Any:
        """Raise an exception in the task that runs this as a coroutine."""
        call = self._call
        if call is not None and asyncio.current_task() not in (self._steps or {}) and not call.of_parent():
            call.give_up(waiting=0)  # the task was cancelled before its first step
        return self._step(lambda steps: steps.throw(*error))

    def close(self) -> None:
        """Give up waiting, as coroutines do. Nothing is lost: a flow that nobody keeps is ended."""
        steps, self._steps = self._steps, None
        for step in (steps or {}).values():
            step.close()

    def _step(self, take: "Callable[[Generator[Any, None, _Result]], Any]") -> Any:
        task = asyncio.current_task()
        if self._steps is None:
            self._steps = {}
        steps = self._steps.pop(task, None) or self.__await__()
        waits_for = take(steps)  # raises StopIteration with the result
        self._steps[task] = steps
        return waits_for
