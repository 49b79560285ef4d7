"""What must hold between what the host of a soak counted, what the library counted, and what the agents saw.

Everything here is arithmetic on reports. test_identities.py takes a flow, a decision, an end or a span out of a good
report, one at a time, and expects each to be missed.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

REASONS = ("timeout", "unavailable", "agent_error", "misconfigured", "cancelled", "closed", "overloaded")


@dataclass(frozen=True)
class Identity:
    """One thing that must hold: low <= value <= high. It is exact when low and high are the same."""

    name: str
    low: int
    value: int
    high: int

    @property
    def holds(self) -> bool:
        return self.low <= self.value <= self.high


@dataclass(frozen=True)
class Round:
    """What the host reported about one client, from its making until after its close."""

    calm: bool  # the client was closed when everything had ended and the agent was well
    counts: Mapping[str, int]  # the host's own
    stats: Mapping[str, int]  # the library's, after the close
    before: Mapping[str, int]  # the same, right before the close
    close_code: str
    live_handles: int
    healed: Mapping[str, object] = field(default_factory=dict)  # for a calm round


@dataclass(frozen=True)
class Agents:
    """What all agents of a soak saw, killed or not."""

    accepted: int
    rejected: int
    failed: int
    flow_ends: int
    spans: int
    unique_spans: int
    disagreements: int = 0


@dataclass(frozen=True)
class Sample:
    """What the host process held at one moment."""

    resident_kib: int
    threads: int
    descriptors: int


def equal(name: str, value: int, expected: int) -> Identity:
    return Identity(name, expected, value, expected)


def decided(counts: Mapping[str, int]) -> int:
    """How many decisions the host saw."""
    return counts["accepted"] + counts["rejected"] + unreachable(counts)


def unreachable(counts: Mapping[str, int]) -> int:
    return sum(counts[f"unreachable_{reason}"] for reason in REASONS)


def decided_unseen(one: Round) -> int:
    """How many flows of cancelled starts the agent decided. The library ends them; the host never sees them."""
    return sum(one.stats[f"flows_{kind}"] - one.counts[kind] for kind in ("accepted", "rejected"))


def of_round(one: Round) -> list[Identity]:
    """Return what must hold for one client. Only what a cancelled call got is not known exactly."""
    counts, stats = one.counts, one.stats
    cancelled = counts["start_cancelled"]
    flows = counts["started"] - counts["start_refused"]

    def seen(name: str, mine: int, theirs: int, unseen: int) -> Identity:
        return Identity(name, mine, theirs, mine + unseen)

    identities = [
        equal("every flow started is decided once, or its start was cancelled", decided(counts) + cancelled, flows),
        equal(
            "the library has decided as many flows",
            stats["flows_accepted"] + stats["flows_rejected"] + stats["flows_unreachable"],
            flows,
        ),
        seen("flows accepted", counts["accepted"], stats["flows_accepted"], cancelled),
        seen("flows rejected", counts["rejected"], stats["flows_rejected"], cancelled),
        equal(
            "the reasons of unreachable flows add up",
            sum(stats[f"unreachable_{reason}"] for reason in REASONS),
            stats["flows_unreachable"],
        ),
    ]
    for reason in REASONS:
        # A flow that is refused for want of a call has none that could be cancelled.
        unseen = 0 if reason == "overloaded" else cancelled
        name = f"unreachable_{reason}"
        identities.append(seen(f"flows unreachable: {reason}", counts[name], stats[name], unseen))
    unseen_spans = decided_unseen(one)
    identities += [
        equal(
            "unreachable flows failed open, or were refused in ramp mode",
            counts["failed_open"] + counts["refused_in_ramp_mode"],
            unreachable(counts),
        ),
        equal(
            "every flow handed out is ended, or closed without", counts["ended"] + counts["not_ended"], decided(counts)
        ),
        equal("flows ended", stats["flows_ended"], counts["ended"] + counts["not_ended"] + cancelled),
        equal("flows closed without an end", stats["flows_never_ended"], counts["not_ended"]),
        seen(
            "ends that gave nothing back",
            counts["ends_unreachable"],
            stats["flow_ends_failed"],
            counts["ends_cancelled"] + cancelled + counts["not_ended_holding"],
        ),
        Identity(
            "calls that say they were cancelled, were", 0, cancelled + counts["ends_cancelled"], counts["cancels"]
        ),
        equal("every pending call is completed once", counts["completions"], counts["pending"]),
        equal("calls that are still pending", stats["calls_pending"], 0),
        # A start that the close overtakes is looked at before it is refused.
        seen("flows with repaired labels", counts["sanitised"], stats["flows_sanitised"], counts["start_refused"]),
        equal(
            "the span of every ended flow that was decided is sent or dropped",
            stats["spans_exported"] + stats["spans_dropped"],
            counts["ended_decided"] + counts["not_ended_decided"] + unseen_spans,
        ),
        equal("spans that still wait", stats["spans_queued"], 0),
        equal("mistakes", counts["mistakes"], 0),
        equal("handles left", one.live_handles, 0),
    ]
    if one.calm:
        flows_after = one.healed["flows"]
        identities += [
            equal("spans lost in the clean close", stats["spans_dropped"], one.before["spans_dropped"]),
            equal("the clean close says", 1 if one.close_code == "APERTURE_OK" else 0, 1),
            equal("the agent is found again", int(one.healed["ready"] == "APERTURE_OK"), 1),
            equal("flows are accepted again", int(bool(one.healed["recovered"])), 1),
            equal("and then all of them", as_int(one.healed["accepted"]), as_int(flows_after)),
        ]
    return identities


def as_int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no count")
    return value


def of_agents(rounds: Sequence[Round], agents: Agents) -> list[Identity]:
    """Return what must hold between the clients and all agents together. An answer can be lost on its way, and a call
    whose answer was lost may be made again; so most of these are bounds, though both sides are counted exactly."""

    def library(name: str) -> int:
        return sum(one.stats[name] for one in rounds)

    def host(name: str) -> int:
        return sum(one.counts[name] for one in rounds)

    flows = host("started") - host("start_refused")
    asked = flows - library("unreachable_overloaded")
    undecided = asked - library("flows_accepted") - library("flows_rejected")
    # What a lost answer said, nobody knows.
    accepted = Identity(
        "the agents accepted what was accepted",
        library("flows_accepted"),
        agents.accepted,
        library("flows_accepted") + undecided,
    )
    rejected = Identity(
        "the agents rejected what was rejected",
        library("flows_rejected"),
        agents.rejected,
        library("flows_rejected") + undecided,
    )
    ends_unknown = (
        library("flow_ends_failed") + host("ends_cancelled") + host("start_cancelled") + host("not_ended_holding")
    )
    return [
        accepted,
        rejected,
        Identity("no flow asks twice", 0, agents.accepted + agents.rejected + agents.failed, asked),
        Identity(
            "the agents answered the ends that were answered, each at most twice",
            host("ends_answered"),
            agents.flow_ends,
            2 * (host("ends_answered") + ends_unknown),
        ),
        Identity(
            "the agents have the spans that were sent, and none that nobody counted",
            library("spans_exported"),
            agents.unique_spans,
            library("spans_exported") + library("spans_dropped"),
        ),
        equal("agents that disagree with their journal", agents.disagreements, 0),
    ]


@dataclass(frozen=True)
class Resource:
    """What a process holds of one thing, over time."""

    name: str
    second_quarter: int  # the median: after the warm-up
    last_quarter: int
    most: int
    allowance: int  # how much the last quarter may have more: a full queue of spans, or a new connection, is no leak


def resources(samples: Sequence[Sample]) -> list[Resource]:
    """Return what the process of the host held. There must be at least four samples."""
    quarter = len(samples) // 4

    def resource(name: str, values: Sequence[int], allowance: int) -> Resource:
        medians = [statistics.median_high(part) for part in (values[quarter : 2 * quarter], values[-quarter:])]
        return Resource(name, medians[0], medians[1], max(values), allowance)

    return [
        resource("resident memory, KiB", [sample.resident_kib for sample in samples], 16 << 10),
        resource("threads", [sample.threads for sample in samples], 16),
        resource("open descriptors", [sample.descriptors for sample in samples], 8),
    ]


def of_samples(samples: Sequence[Sample]) -> list[Identity]:
    """Return what must hold for the process of the host: nothing grows."""
    return [Identity(one.name, 0, one.last_quarter, one.second_quarter + one.allowance) for one in resources(samples)]
