"""The soak's arithmetic finds what it is for: a flow, a decision, an end or a span that nobody counted, and a process
that grows. Each case spoils one number of a good report, and names the identity that must fail.
"""

import unittest
from dataclasses import replace
from typing import Any

import identities
from identities import Agents, Identity, Round, Sample

COUNTS = {
    "started": 1000,
    "start_refused": 10,
    "start_cancelled": 20,
    "accepted": 700,
    "rejected": 100,
    "unreachable_timeout": 40,
    "unreachable_unavailable": 90,
    "unreachable_agent_error": 15,
    "unreachable_misconfigured": 0,
    "unreachable_cancelled": 0,
    "unreachable_closed": 5,
    "unreachable_overloaded": 20,
    "failed_open": 150,
    "refused_in_ramp_mode": 20,
    "ended": 940,
    "ended_decided": 780,
    "ends_answered": 180,
    "ends_unreachable": 7,
    "ends_cancelled": 3,
    "not_ended": 30,
    "not_ended_decided": 20,
    "not_ended_holding": 5,
    "sanitised": 12,
    "cancels": 25,
    "pending": 600,
    "completions": 600,
    "mistakes": 0,
}
STATS = {
    "flows_accepted": 702,
    "flows_rejected": 101,
    "flows_unreachable": 187,
    "unreachable_timeout": 41,
    "unreachable_unavailable": 90,
    "unreachable_agent_error": 15,
    "unreachable_misconfigured": 0,
    "unreachable_cancelled": 16,
    "unreachable_closed": 5,
    "unreachable_overloaded": 20,
    "flows_ended": 990,
    "flows_never_ended": 30,
    "flow_ends_failed": 8,
    "spans_exported": 790,
    "spans_dropped": 13,
    "spans_queued": 0,
    "flows_sanitised": 12,
    "calls_pending": 0,
}
HEALED = {"ready": "APERTURE_OK", "recovered": True, "flows": 200, "accepted": 200}
CALM = Round(
    calm=True,
    counts=COUNTS,
    stats=STATS,
    before={**STATS, "spans_exported": 780, "spans_queued": 10},
    close_code="APERTURE_OK",
    live_handles=0,
    healed=HEALED,
)
AGENTS = Agents(accepted=720, rejected=103, failed=60, flow_ends=190, spans=820, unique_spans=792)
FLAT = [Sample(30_000 + 100 * (n % 7), 18 + n % 3, 12 + n % 2) for n in range(100)]


def failing(checked: list[Identity]) -> set[str]:
    return {identity.name for identity in checked if not identity.holds}


class TestIdentities(unittest.TestCase):
    def assert_round_fails(self, one: Round, *names: str) -> None:
        found = failing(identities.of_round(one))
        self.assertLessEqual(set(names), found)

    def test_a_good_report_has_no_failing_identity(self) -> None:
        self.assertEqual(failing(identities.of_round(CALM)), set())
        self.assertEqual(failing(identities.of_agents([CALM], AGENTS)), set())
        self.assertEqual(failing(identities.of_samples(FLAT)), set())

    def test_every_count_of_the_host_matters(self) -> None:
        # Of calls that were cancelled the host cannot know more than a bound, and only the agents see the ends.
        bounds = {"cancels", "ends_cancelled", "ends_answered", "not_ended_holding"}
        for name, value in COUNTS.items():
            for change in (-100, 100) if name not in bounds else ():
                with self.subTest(name, change=change):
                    spoiled = replace(CALM, counts={**COUNTS, name: value + change})
                    self.assertNotEqual(failing(identities.of_round(spoiled)), set())

    def test_every_count_of_the_library_matters(self) -> None:
        for name, value in STATS.items():
            for change in (-100, 100):
                with self.subTest(name, change=change):
                    spoiled = replace(CALM, stats={**STATS, name: value + change})
                    self.assertNotEqual(failing(identities.of_round(spoiled)), set())

    def test_one_lost(self) -> None:
        """One is enough, wherever no call was cancelled; and for these also where some were."""
        for mine, name in (
            ({"started": 1001}, "every flow started is decided once, or its start was cancelled"),
            ({"accepted": 699}, "every flow started is decided once, or its start was cancelled"),
            ({"start_cancelled": 21}, "every flow started is decided once, or its start was cancelled"),
            ({"failed_open": 149}, "unreachable flows failed open, or were refused in ramp mode"),
            ({"ended": 941}, "flows ended"),
            ({"ended_decided": 781}, "the span of every ended flow that was decided is sent or dropped"),
            ({"not_ended": 29}, "every flow handed out is ended, or closed without"),
            ({"completions": 599}, "every pending call is completed once"),
            ({"mistakes": 1}, "mistakes"),
            ({"cancels": 22}, "calls that say they were cancelled, were"),
        ):
            with self.subTest(name, counts=mine):
                self.assert_round_fails(replace(CALM, counts={**COUNTS, **mine}), name)
        for theirs, name in (
            ({"flows_accepted": 701}, "the library has decided as many flows"),
            ({"flows_unreachable": 188}, "the reasons of unreachable flows add up"),
            ({"unreachable_overloaded": 19}, "flows unreachable: overloaded"),
            ({"flows_ended": 989}, "flows ended"),
            ({"flows_never_ended": 29}, "flows closed without an end"),
            ({"spans_exported": 789}, "the span of every ended flow that was decided is sent or dropped"),
            ({"spans_dropped": 12}, "the span of every ended flow that was decided is sent or dropped"),
            ({"spans_queued": 1}, "spans that still wait"),
            ({"calls_pending": 1}, "calls that are still pending"),
            ({"flow_ends_failed": 6}, "ends that gave nothing back"),
        ):
            with self.subTest(name, stats=theirs):
                self.assert_round_fails(replace(CALM, stats={**STATS, **theirs}), name)

    def test_without_cancelled_calls_everything_is_exact(self) -> None:
        counts = {
            **COUNTS,
            "started": 980,
            "start_cancelled": 0,
            "ends_cancelled": 0,
            "cancels": 0,
            "ended": 937,
            "not_ended": 33,
            "not_ended_holding": 0,
        }
        shared = {f"unreachable_{reason}": COUNTS[f"unreachable_{reason}"] for reason in identities.REASONS}
        stats = {
            **STATS,
            **shared,
            "flows_accepted": 700,
            "flows_rejected": 100,
            "flows_unreachable": 170,
            "flows_ended": 970,
            "flows_never_ended": 33,
            "flow_ends_failed": 7,
            "spans_exported": 787,
        }
        exact = replace(CALM, counts=counts, stats=stats)
        self.assertEqual(failing(identities.of_round(exact)), set())
        for name, value in stats.items():
            for change in (-1, 1) if name != "flows_sanitised" else ():  # starts that were refused make that a bound
                with self.subTest(name, change=change):
                    spoiled = replace(exact, stats={**stats, name: value + change})
                    self.assertNotEqual(failing(identities.of_round(spoiled)), set())

    def test_what_a_calm_end_promises(self) -> None:
        self.assert_round_fails(replace(CALM, live_handles=1), "handles left")
        self.assert_round_fails(replace(CALM, close_code="APERTURE_ERROR_TIMEOUT"), "the clean close says")
        self.assert_round_fails(
            replace(CALM, before={**CALM.before, "spans_dropped": 12}), "spans lost in the clean close"
        )
        spoiled: list[tuple[dict[str, Any], str]] = [
            ({"accepted": 199}, "and then all of them"),
            ({"recovered": False}, "flows are accepted again"),
            ({"ready": "APERTURE_ERROR_TIMEOUT"}, "the agent is found again"),
        ]
        for change, name in spoiled:
            with self.subTest(name):
                self.assert_round_fails(replace(CALM, healed={**HEALED, **change}), name)
        abrupt = replace(CALM, calm=False, close_code="APERTURE_ERROR_TIMEOUT", healed={})
        self.assertEqual(failing(identities.of_round(abrupt)), set())

    def test_what_the_agents_saw(self) -> None:
        for change, name in (
            ({"accepted": 701}, "the agents accepted what was accepted"),
            ({"rejected": 100}, "the agents rejected what was rejected"),
            ({"failed": 200}, "no flow asks twice"),
            ({"flow_ends": 179}, "the agents answered the ends that were answered, each at most twice"),
            ({"flow_ends": 433}, "the agents answered the ends that were answered, each at most twice"),
            ({"unique_spans": 789}, "the agents have the spans that were sent, and none that nobody counted"),
            ({"unique_spans": 804}, "the agents have the spans that were sent, and none that nobody counted"),
            ({"disagreements": 1}, "agents that disagree with their journal"),
        ):
            with self.subTest(name, **change):
                self.assertEqual(failing(identities.of_agents([CALM], replace(AGENTS, **change))), {name})

    def test_a_process_that_grows(self) -> None:
        for name, growing in (
            ("resident memory, KiB", [replace(s, resident_kib=30_000 + 500 * n) for n, s in enumerate(FLAT)]),
            ("threads", [replace(s, threads=18 + n // 2) for n, s in enumerate(FLAT)]),
            ("open descriptors", [replace(s, descriptors=12 + n // 5) for n, s in enumerate(FLAT)]),
        ):
            with self.subTest(name):
                self.assertEqual(failing(identities.of_samples(growing)), {name})


if __name__ == "__main__":
    unittest.main()
