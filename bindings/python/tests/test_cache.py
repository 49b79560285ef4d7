"""The caches of an agent and of the local engine: what flows look up and store, and calls without a flow."""

import asyncio
import base64
import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable

import pytest
from children import in_child
from processes import DEADLINE, FakeAgent

from aperture_sdk import _library
from aperture_sdk.cache import KeyLookupResponse, LookupStatus
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import (
    CacheError,
    CancelledError,
    ClosedError,
    ForkedError,
    InvalidArgumentError,
    NoAnswerError,
    UnreachableError,
)
from aperture_sdk.flow import Flow

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = timedelta(seconds=DEADLINE)
HOUR = timedelta(hours=1)


@pytest.fixture
def silent_port() -> Iterator[str]:
    """The address of somebody who takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def silent(silent_port: str) -> Iterator[ApertureClient]:
    with ApertureClient.new_client(silent_port, insecure=True) as client:
        yield client


def start(client: ApertureClient, result: Any = "key", *keys: Any, control_point: str = "checkout") -> Flow:
    return client.start_flow(control_point, FlowParams(PATIENT, None, False, result, keys))


def handles() -> int:
    """Return how many handles are open, after what nobody refers to is gone."""
    gc.collect()
    return _library.load().live_handles()


def check(found: KeyLookupResponse, value: "bytes | None") -> None:
    """Check that there is an entry with this value, or with None that there is no entry."""
    assert found.get_error() is None
    assert found.get_value() == value
    assert found.get_lookup_status() is (LookupStatus.MISS if value is None else LookupStatus.HIT)


def check_failed(found: KeyLookupResponse, kind: type[Exception]) -> None:
    """Check that nothing is known about an entry."""
    assert isinstance(found.get_error(), kind)
    assert found.get_value() is None
    assert found.get_lookup_status() is LookupStatus.MISS


def test_a_result_is_stored_found_and_removed(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    with start(client) as flow:
        check(flow.result_cache(), None)
        assert flow.set_result_cache("żółć", timedelta(seconds=90, microseconds=1)).get_error() is None
    with start(client, "key", "key") as flow:
        check(flow.result_cache(), "żółć".encode())
        check(flow.global_cache("key"), None)
        assert flow.delete_result_cache().get_error() is None
        assert flow.delete_result_cache().get_error() is None  # one that is not there is no error
    with start(client) as flow:
        check(flow.result_cache(), None)
    with start(client, control_point="elsewhere") as flow:
        check(flow.result_cache(), None)
    client.close()
    report = fake.report()
    (upsert,) = report["cache_upserts"]
    assert upsert["control_point"] == "checkout"
    assert upsert["global_cache_entries"] == {}
    assert upsert["result_cache_entry"] == {
        "key": "key",
        "value": base64.b64encode("żółć".encode()).decode(),
        "ttl_ns": 90_000_001_000,
    }
    assert 0 < upsert["timeout_ms"] <= 1000
    assert report["checks"][1]["cache_lookup_request"]["result_cache_key"] == "key"
    assert report["checks"][1]["cache_lookup_request"]["global_cache_keys"] == ["key"]
    assert all("żó" not in str(span) for span in report["spans"])


def test_all_control_points_share_the_global_cache(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent())
    with start(client, None, "a", "b") as flow:
        check(flow.global_cache("a"), None)
        assert flow.set_global_cache("a", b"1", HOUR).get_error() is None
        assert flow.set_global_cache("ż", b"2", HOUR).get_error() is None
    with start(client, None, "a", "ż", "b", control_point="elsewhere") as flow:
        check(flow.global_cache("a"), b"1")
        check(flow.global_cache("ż"), b"2")
        check(flow.global_cache("b"), None)
        check_failed(flow.global_cache("not asked for"), NoAnswerError)
        assert flow.delete_global_cache("a").get_error() is None
    with start(client, None, "a") as flow:
        check(flow.global_cache("a"), None)


def test_the_local_engine_has_caches() -> None:
    with ApertureClient.new_client("local:") as client:
        with start(client, "key", "a") as flow:
            check(flow.result_cache(), None)
            check(flow.global_cache("a"), None)
            assert flow.set_result_cache("żółć", HOUR).get_error() is None
            assert flow.set_global_cache("a", b"", HOUR).get_error() is None
        with start(client, "key", "a") as flow:
            check(flow.result_cache(), "żółć".encode())
            check(flow.global_cache("a"), b"")
            assert flow.delete_result_cache().get_error() is None
        with start(client, control_point="elsewhere") as flow:
            check(flow.result_cache(), None)
        found = client.cache_lookup("checkout", "key", ["a"])
        check(found.result_cache(), None)
        check(found.global_cache("a"), b"")
        refused = client.cache_set("checkout", "v", HOUR, global_cache_key="k" * 233).get_error()
        assert isinstance(refused, CacheError)
        assert "key too large" in str(refused)


def test_a_flow_without_keys_asks_for_nothing(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    client.start_flow("checkout", FlowParams(PATIENT)).end()
    start(client, "", *()).end()
    assert [check["cache_lookup_request"] for check in fake.report()["checks"]] == [None, None]


def test_keys_go_with_labels_whatever_their_number(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    labels = {f"label-{number}": str(number) for number in range(70)}
    keys = {f"ż-{number}": None for number in range(70)}
    for label_count, key_count in ((0, 1), (3, 5), (64, 0), (62, 1), (63, 2), (70, 70)):
        params = FlowParams(PATIENT, dict(list(labels.items())[:label_count]), False, "r", list(keys)[:key_count])
        client.start_flow("checkout", params).end()
        params.result_cache_key = None
        client.start_flow("checkout", params).end()
    for number, asked in enumerate(fake.report()["checks"]):
        label_count, key_count = ((0, 1), (3, 5), (64, 0), (62, 1), (63, 2), (70, 70))[number // 2]
        assert (asked["labels"] or {}) == dict(list(labels.items())[:label_count])
        wanted = asked["cache_lookup_request"] or {"result_cache_key": "", "global_cache_keys": []}
        assert wanted["result_cache_key"] == ("r" if number % 2 == 0 else "")
        assert wanted["global_cache_keys"] == list(keys)[:key_count]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", b""),
        (b"", b""),
        ("a\0b", b"a\0b"),
        (bytes(range(256)), bytes(range(256))),
        (bytearray(b"\xff\0"), b"\xff\0"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (b"x" * 3_900_000, b"x" * 3_900_000),
    ],
)
def test_a_value_comes_back_as_it_was(agent: StartAgent, connect: Connect, value: Any, expected: bytes) -> None:
    client = connect(agent())
    with start(client) as flow:
        assert flow.set_result_cache(value, HOUR, timeout=DEADLINE).get_error() is None
    with start(client) as flow:
        check(flow.result_cache(), expected)


def test_a_value_lives_for_its_time(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    flow = start(client)
    for ttl in (timedelta(microseconds=1), timedelta(days=1), timedelta(days=7), timedelta.max):
        assert flow.set_result_cache("v", ttl).get_error() is None
    assert flow.set_global_cache("g", "v", timedelta(microseconds=1)).get_error() is None
    flow.end()
    found = client.cache_lookup("checkout", "key", ["g"])
    check(found.global_cache("g"), None)
    check(found.result_cache(), b"v")
    week = 7 * 24 * 3600 * 10**9
    sent = [upsert["result_cache_entry"]["ttl_ns"] for upsert in fake.report()["cache_upserts"][:4]]
    assert sent == [1000, week // 7, week, week]


def test_the_caches_can_be_used_without_a_flow(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    assert client.cache_set("checkout", b"1", HOUR, result_cache_key="a").get_error() is None
    assert (
        client.cache_set("checkout", "2", HOUR, global_cache_key="a", timeout=timedelta(seconds=20)).get_error() is None
    )
    found = client.cache_lookup("checkout", "a", ("a", "b"), timeout=20)
    assert found.get_error() is None
    check(found.result_cache(), b"1")
    check(found.global_cache("a"), b"2")
    check(found.global_cache("b"), None)
    check_failed(found.global_cache("c"), NoAnswerError)
    check_failed(client.cache_lookup("checkout", None, ["a"]).result_cache(), NoAnswerError)
    with pytest.raises(TypeError, match="key: must be str, not int"):
        found.global_cache(1)  # type: ignore[arg-type]
    check(client.cache_lookup("elsewhere", "a").result_cache(), None)
    assert client.cache_delete("checkout", result_cache_key="a").get_error() is None
    assert client.cache_delete("checkout", global_cache_key="a").get_error() is None
    found = client.cache_lookup("checkout", "a", ["a"])
    check(found.result_cache(), None)
    check(found.global_cache("a"), None)
    assert client.stats().cache_calls == 8
    assert client.stats().cache_calls_failed == 0
    report = fake.report()
    assert 10_000 < report["cache_upserts"][1]["timeout_ms"] <= 20_000
    assert 10_000 < report["cache_lookups"][0]["timeout_ms"] <= 20_000


def test_a_thread_can_use_the_caches(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent())
    found: list[KeyLookupResponse] = []

    def work() -> None:
        with start(client) as flow:
            assert flow.set_result_cache("v", HOUR).get_error() is None
        found.append(client.cache_lookup("checkout", "key").result_cache())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    check(found[0], b"v")


def test_an_agent_that_is_down_is_a_miss_with_an_error(closed_port: str) -> None:
    with ApertureClient.new_client(closed_port, insecure=True) as client:
        flow = start(client, "key", "a")
        check_failed(flow.result_cache(), UnreachableError)
        check_failed(flow.global_cache("a"), UnreachableError)
        responses: list[Any] = [
            flow.set_result_cache("v", HOUR),
            flow.delete_result_cache(),
            flow.set_global_cache("a", "v", HOUR),
            flow.delete_global_cache("a"),
            client.cache_lookup("checkout", "key"),
        ]
        for response in responses:
            assert isinstance(response.get_error(), UnreachableError)
            assert "error=UnreachableError" in repr(response)
        check_failed(responses[-1].result_cache(), UnreachableError)
        check_failed(responses[-1].global_cache("a"), UnreachableError)
        assert client.stats().cache_calls_failed == 5
        flow.end()


@pytest.mark.parametrize("timeout", [0.05, 0.35])  # both sides of what waits in slices
def test_a_call_is_bounded_by_its_timeout(silent: ApertureClient, timeout: float) -> None:
    begin = time.monotonic()
    assert isinstance(client_set(silent, timeout).get_error(), UnreachableError)
    assert timeout <= time.monotonic() - begin < DEADLINE
    assert silent.stats().calls_pending == 0


def client_set(client: ApertureClient, timeout: float) -> Any:
    return client.cache_set("checkout", "v", HOUR, result_cache_key="key", timeout=timeout)


def test_a_rejected_flow_was_not_looked_up(agent: StartAgent, connect: Connect) -> None:
    with start(connect(agent("-decision", "reject")), "key", "a") as flow:
        check_failed(flow.result_cache(), NoAnswerError)
        check_failed(flow.global_cache("a"), NoAnswerError)


def test_an_answer_that_says_nothing_is_no_hit(agent: StartAgent, connect: Connect) -> None:
    with start(connect(agent("-decision", "empty")), "key", "a") as flow:
        check_failed(flow.result_cache(), NoAnswerError)
        check_failed(flow.global_cache("a"), NoAnswerError)


def test_what_the_agent_says_of_an_entry_is_its_error(agent: StartAgent, connect: Connect, tmp_path: Path) -> None:
    broken = {"operation_status": "ERROR", "error": "the shelf is broken"}
    answers: dict[str, dict[str, Any]] = {
        "cache_lookup": {"result_cache_response": broken, "global_cache_responses": {"a": broken, "b": {}}},
        "cache_upsert": {"result_cache_response": broken},
        "cache_delete": {"result_cache_response": broken},
    }
    script: dict[str, Any] = {kind: [{"response": response}, {}] for kind, response in answers.items()}
    script["check"] = [{"response": {"cache_lookup_response": answers["cache_lookup"]}}]
    file = tmp_path / "script.json"
    file.write_text(json.dumps(script))
    client = connect(agent("-script", file))
    flow = start(client, "key", "a", "b")
    found = client.cache_lookup("checkout", "key", ["a", "b"])
    assert found.get_error() is None
    sources: list[Any] = [flow, found]
    for source in sources:
        check_failed(source.result_cache(), CacheError)
        check_failed(source.global_cache("a"), CacheError)
        check(source.global_cache("b"), b"")  # an empty answer is a hit
    changes: list[Callable[[], Any]] = [lambda: flow.set_result_cache("v", HOUR), flow.delete_result_cache]
    for change in changes:
        error = change().get_error()
        assert isinstance(error, CacheError)
        assert "the shelf is broken" in str(error)
        assert change().get_error() is None
    assert client.stats().cache_calls_failed == 2
    flow.end()


@pytest.mark.parametrize("key", [None, ""])
def test_a_flow_without_a_key_has_no_result_to_store(open_client: ApertureClient, key: "str | None") -> None:
    with start(open_client, key) as flow:
        check_failed(flow.result_cache(), NoAnswerError)
        for response in (flow.set_result_cache("v", HOUR), flow.delete_result_cache()):
            error = response.get_error()
            assert isinstance(error, NoAnswerError)
            assert "result_cache_key" in str(error)
    assert open_client.stats().cache_calls == 0


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda c, f: f.set_result_cache(1, HOUR), TypeError, "value: must be str or bytes-like, not int"),
        (lambda c, f: f.set_result_cache(None, HOUR), TypeError, "value: must be str or bytes-like, not NoneType"),
        (lambda c, f: f.set_result_cache("secret\udcff", HOUR), ValueError, "value: is text with lone surrogates"),
        (lambda c, f: f.set_result_cache(b"v" * 4_000_001, HOUR), ValueError, "value: .* the limit is 4000000"),
        (lambda c, f: f.set_result_cache(b"v" * 4_000_000, HOUR), ValueError, "value .* the limit is 4000000"),
        (lambda c, f: f.set_result_cache("v", 1), TypeError, "ttl: must be datetime.timedelta, not int"),
        (lambda c, f: f.set_result_cache("v", timedelta(0)), ValueError, "TTL is not positive"),
        (lambda c, f: f.set_result_cache("v", timedelta.min), ValueError, "TTL is not positive"),
        (lambda c, f: f.set_result_cache("v", HOUR, timeout="1"), TypeError, "timeout: must be .*, not str"),
        (lambda c, f: f.set_result_cache("v", HOUR, timeout=0), ValueError, "timeout: is 0; must be more than 0"),
        (lambda c, f: f.delete_result_cache(timeout=-1), ValueError, "timeout: is -1; must be more than 0"),
        (lambda c, f: f.set_result_cache("v", HOUR, metadata=()), TypeError, "argument 'metadata'"),
        (lambda c, f: f.set_global_cache(1, "v", HOUR), TypeError, "key: must be str, not int"),
        (lambda c, f: f.set_global_cache("", "v", HOUR), ValueError, "key is empty"),
        (lambda c, f: f.set_global_cache("\udcff", "v", HOUR), ValueError, "key is not UTF-8"),
        (lambda c, f: f.delete_global_cache(None), TypeError, "key: must be str, not NoneType"),
        (lambda c, f: f.global_cache(b"a"), TypeError, "key: must be str, not bytes"),
        (lambda c, f: c.cache_lookup("x"), ValueError, "cache keys are missing"),
        (lambda c, f: c.cache_lookup(1, "k"), TypeError, "control_point: must be str, not int"),
        (lambda c, f: c.cache_lookup("", "k"), ValueError, "control point"),
        (lambda c, f: c.cache_lookup("x", 1), TypeError, "result_cache_key: must be str, not int"),
        (
            lambda c, f: c.cache_lookup("x", None, "ab"),
            TypeError,
            "global_cache_keys: must be a sequence of str, not s",
        ),
        (lambda c, f: c.cache_lookup("x", None, [1]), TypeError, "global_cache_keys: every key must be str, not int"),
        (lambda c, f: c.cache_set("x", "v", HOUR), TypeError, "either result_cache_key or global_cache_key"),
        (
            lambda c, f: c.cache_set("x", "v", HOUR, result_cache_key="a", global_cache_key="b"),
            TypeError,
            "either result_cache_key or global_cache_key",
        ),
        (lambda c, f: c.cache_set("x", "v", HOUR, result_cache_key=1), TypeError, "result_cache_key: must be str"),
        (lambda c, f: c.cache_delete("x", global_cache_key=1), TypeError, "global_cache_key: must be str, not int"),
        (lambda c, f: c.cache_delete("x", result_cache_key=""), ValueError, "key is empty"),
        (lambda c, f: start(c, 1), TypeError, "result_cache_key: must be str, not int"),
        (lambda c, f: start(c, "\udcff"), ValueError, "result cache key is not UTF-8"),
        (lambda c, f: start(c, "k", ""), ValueError, "global cache keys have an empty key"),
        (lambda c, f: start(c, "k", 1), TypeError, "global_cache_keys: every key must be str, not int"),
        (
            lambda c, f: c.start_flow("x", FlowParams(global_cache_keys="ab")),
            TypeError,
            "global_cache_keys: must be a sequence of str, not str",
        ),
    ],
)
@pytest.mark.parametrize("in_loop", [False, True])
def test_a_wrong_argument_is_named(
    agent: StartAgent,
    connect: Connect,
    use: Callable[[Any, Any], Any],
    error: type[Exception],
    message: str,
    in_loop: bool,
) -> None:
    client = connect(agent())
    flow = start(client)
    before = handles()

    async def main() -> None:
        with pytest.raises(error, match=message) as raised:
            await use(client, flow)
        assert "secret" not in str(raised.value)

    if in_loop:
        asyncio.run(main())
    else:
        with pytest.raises(error, match=message):
            use(client, flow)
    assert handles() == before
    flow.end()


def test_an_argument_that_the_library_judges_late_is_refused_at_the_first_use(
    agent: StartAgent, connect: Connect
) -> None:
    client = connect(agent())

    async def main() -> None:
        with start(client) as flow, pytest.raises(InvalidArgumentError, match="TTL"):
            flow.set_result_cache("v", timedelta(0)).get_error()

    asyncio.run(main())


def test_await_does_not_block_the_loop(silent: ApertureClient) -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticker = asyncio.create_task(tick())
        lookup, upsert, removal = await asyncio.gather(
            silent.cache_lookup("checkout", "key", timeout=0.3),
            client_set(silent, 0.3),
            silent.cache_delete("checkout", global_cache_key="key", timeout=0.3),
        )
        for response in (lookup, upsert, removal):
            assert isinstance(response.get_error(), UnreachableError)
        assert ticks > 10
        ticker.cancel()

    asyncio.run(main())


def test_event_loops_use_the_caches(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-in-flight", 1))

    async def main() -> None:
        async with start(client, "key", "a") as flow:
            check(flow.result_cache(), None)
            response = flow.set_result_cache(b"1", HOUR)
            assert repr(response) == "<KeyUpsertResponse pending>"
            assert (await response) is response
            assert response.get_error() is None
            assert (await asyncio.create_task(flow.set_global_cache("a", "2", HOUR))).get_error() is None
        async with start(client, "key", "a") as flow:
            check(flow.result_cache(), b"1")
            check(flow.global_cache("a"), b"2")
            assert flow.delete_result_cache().get_error() is None  # without an await it waits
        found = await client.cache_lookup("checkout", "key", ["a"])
        check(found.result_cache(), None)
        check(found.global_cache("a"), b"2")
        check(client.cache_lookup("checkout", "key", ["a"]).global_cache("a"), b"2")

    asyncio.run(main())


def test_what_nobody_awaits_is_done_all_the_same(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    before = handles()

    async def main() -> None:
        client.cache_set("checkout", "v", HOUR, result_cache_key="key")
        client.cache_lookup("checkout", "key")
        while client.stats().calls_pending:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)  # the loop looks once more

    asyncio.run(main())
    assert handles() == before
    report = fake.report()
    assert (report["cache_upsert_count"], report["cache_lookup_count"]) == (1, 1)


def test_a_call_can_be_cancelled(silent: ApertureClient) -> None:
    async def main() -> None:
        response = silent.cache_lookup("checkout", "key", timeout=DEADLINE)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(response, 0.05)
        check_failed(response.result_cache(), CancelledError)
        assert isinstance((await response).get_error(), CancelledError)

    before = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - before < DEADLINE


def test_a_closed_client_is_an_error_of_the_response(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent())
    assert client.cache_set("checkout", "v", HOUR, result_cache_key="key").get_error() is None
    flow = start(client)
    flow.end()
    client.close()
    check(flow.result_cache(), b"v")  # it came with the decision
    assert isinstance(flow.set_result_cache("v", HOUR).get_error(), ClosedError)
    assert isinstance(client.cache_lookup("checkout", "key").get_error(), ClosedError)


def test_close_ends_calls_that_wait(silent: ApertureClient) -> None:
    responses: list[Any] = []
    thread = threading.Thread(target=lambda: responses.append(client_set(silent, DEADLINE)))
    thread.start()
    time.sleep(0.1)
    silent.close()
    thread.join(DEADLINE)
    assert isinstance(responses[0].get_error(), (ClosedError, UnreachableError))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_uses_the_caches_but_not_the_flow_of_its_parent(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    flow = start(client)

    def child() -> None:
        check_failed(flow.result_cache(), ForkedError)
        assert flow.set_result_cache("of a child", HOUR, timeout=DEADLINE).get_error() is None
        check(client.cache_lookup("checkout", "key", timeout=DEADLINE).result_cache(), b"of a child")
        client.close()

    in_child(child)
    check(client.cache_lookup("checkout", "key").result_cache(), b"of a child")
    flow.end()
