"""The simulation of a server: equal to one that runs every pass by itself, and to what can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.serving.simulation import POLICIES, Request, Rules, served


def seconds(tokens: float, decodes: float, context: float) -> float:
    """Linear in everything, as a pass is nearly."""
    return 0.01 * (tokens > 0) + 1e-4 * tokens + 0.02 * (decodes > 0) + 1e-4 * decodes + 1e-7 * decodes * context


def pass_by_pass(requests: list[Request], rules: Rules, at_once: int | None) -> tuple[list[float], list[float]]:
    """Times to first token and to the last, by a server that never looks ahead (mixed or prefill-first)."""
    n = len(requests)
    sent = [r.sent for r in requests]
    coming = {i: sent[i] + rules.request_s for i in range(n if at_once is None else min(at_once, n))}
    unsent = list(range(len(coming), n))
    queue: list[int] = []
    left = [r.prompt for r in requests]
    written = [0] * n
    running: list[int] = []
    first, ended, now = [0.0] * n, [0.0] * n, 0.0
    while unsent or coming or queue or running:
        queue += sorted((i for i in coming if coming[i] <= now), key=lambda i: (coming[i], i))
        coming = {i: at for i, at in coming.items() if i not in queue}
        room = rules.budget - (len(running) if rules.policy == "mixed" else 0)
        taken, tokens = [], 0
        for i in queue:
            held = sum(requests[j].prompt + requests[j].output for j in (*running, *taken))
            fits = held + requests[i].prompt + requests[i].output <= rules.kv_tokens or not (running or taken)
            if room <= 0 or len(running) + len(taken) >= rules.sequences or not fits:
                break
            part = min(left[i], room)
            left[i], room, tokens = left[i] - part, room - part, tokens + part
            if not left[i]:
                taken.append(i)
        queue = [i for i in queue if i not in taken]
        if not tokens and not running:
            now = min(coming.values())
            continue
        decoding = [] if tokens and rules.policy == "prefill-first" else list(running)
        context = sum(requests[i].prompt + written[i] for i in decoding) / len(decoding) if decoding else 0.0
        now += seconds(tokens, len(decoding), context)
        for i in decoding:
            written[i] += 1
        for i in taken:
            first[i], written[i] = now - sent[i], 1
        running += taken
        for i in [i for i in running if written[i] == requests[i].output]:
            running.remove(i)
            ended[i] = now - sent[i]
            if unsent:
                sent[unsent[0]] = now
                coming[unsent.pop(0)] = now + rules.request_s
    return first, ended


LENGTHS = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 30)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    LENGTHS,
    st.sampled_from(["mixed", "prefill-first"]),
    st.integers(1, 6),
    st.sampled_from([64, 300, 5000]),
    st.sampled_from([3, 100]),
    st.sampled_from([500.0, float("inf")]),
)
def test_it_equals_a_server_that_runs_every_pass(
    lengths: list[tuple[int, int]], policy: str, at_once: int, budget: int, sequences: int, kv_tokens: float
) -> None:
    requests = [Request(prompt, output) for prompt, output in lengths]
    rules = Rules(policy, budget, sequences, kv_tokens, reserves=True, request_s=0.03)
    got = served(requests, seconds, rules, at_once)
    first, ended = pass_by_pass(requests, rules, at_once)
    assert got.first == pytest.approx(first, rel=1e-9, abs=1e-12)
    assert got.ended == pytest.approx(ended, rel=1e-9, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.lists(st.floats(0, 2), min_size=12, max_size=12), st.sampled_from(["mixed", "prefill-first"]))
def test_open_arrivals_equal_it_too(lengths: list[tuple[int, int]], times: list[float], policy: str) -> None:
    requests = [Request(p, o, at) for (p, o), at in zip(lengths, sorted(times), strict=False)]
    got = served(requests, seconds, Rules(policy, 300))
    first, ended = pass_by_pass(requests, Rules(policy, 300), None)
    assert got.first == pytest.approx(first, rel=1e-9, abs=1e-12)
    assert got.ended == pytest.approx(ended, rel=1e-9, abs=1e-12)


def drawn(n: int = 120) -> list[Request]:
    return [Request(100 + 37 * i % 900, 2 + 13 * i % 90) for i in range(n)]


@pytest.mark.parametrize("policy", POLICIES)
def test_means_are_made_of_the_passes_that_are_kept(policy: str) -> None:
    rules = Rules(policy, 512, 16, 20_000.0, request_s=0.02, lag=1.5)
    got = served(drawn(), seconds, rules, 24)
    waited = sum(seconds(*p[:3]) * p.waiting for p in got.passes) + rules.lag * sum(
        seconds(*p[:3]) * p.waiting for p in got.after
    )
    assert waited + len(got.first) * rules.request_s == pytest.approx(sum(got.first), rel=1e-9)
    each = [(e - f) / (r.output - 1) for f, e, r in zip(got.first, got.ended, drawn(), strict=True)]
    stepped = sum(seconds(*p[:3]) * p.rates for p in got.passes)
    assert stepped == pytest.approx(sum(each), rel=0.01), "but for steps that tokens are seen later"
    assert sum(seconds(*p[:3]) * p.repeat for p in got.passes) == pytest.approx(got.busy)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_token_is_written_once(policy: str) -> None:
    got = served(drawn(), seconds, Rules(policy, 512, 16), 24)
    if policy != "static":
        assert sum(weight for _, weight in got.gaps) == sum(r.output - 1 for r in drawn())
    assert all(e >= f > 0 for f, e in zip(got.first, got.ended, strict=True))


@pytest.mark.parametrize("policy", ["mixed", "prefill-first"])
def test_a_closed_loop_obeys_littles_law(policy: str) -> None:
    """Requests in flight = rate × time in the system (Little 1961), but for the last ones, which nobody follows."""
    requests = [Request(100, 40) for _ in range(4000)]
    got = served(requests, seconds, Rules(policy, 512), 16)
    assert sum(got.ended) / got.seconds == pytest.approx(16, rel=0.01)


def test_one_request_at_a_time_sees_what_it_would_alone() -> None:
    got = served([Request(100, 5)] * 3, seconds, Rules(), 1)
    alone = seconds(100, 0, 0)
    steps = sum(seconds(0, 1, 101 + i) for i in range(4))
    assert got.first == pytest.approx([alone] * 3)
    assert got.ended == pytest.approx([alone + steps] * 3)


def test_a_static_batch_is_padded_and_waits_for_its_last() -> None:
    requests = [Request(100, 10), Request(300, 2)]
    got = served([*requests, Request(50, 2)], seconds, Rules("static", sequences=2))
    padded = seconds(600, 0, 0)
    assert got.first[:2] == pytest.approx([padded] * 2)
    last = got.ended[0]
    assert got.first[2] == pytest.approx(last + seconds(50, 0, 0)), "the third starts when the longest output has ended"
    # the ended one keeps its place: every step is of two sequences
    assert last - padded > 9 * (0.02 + 2e-4)


def test_decodes_first_keeps_prompts_out() -> None:
    late = [Request(100, 50), Request(100, 5, 0.05)]
    first, mixed = (served(late, seconds, Rules(policy)) for policy in ("decode-first", "mixed"))
    assert first.first[1] > mixed.first[1]
    assert first.ended[0] < mixed.ended[0]


def test_a_full_cache_throws_out_and_recomputes() -> None:
    requests = [Request(100, 100) for _ in range(8)]
    roomy, tight = (served(requests, seconds, Rules(kv_tokens=tokens)) for tokens in (1e9, 900.0))
    assert roomy.preempted == 0 < tight.preempted
    assert tight.seconds > roomy.seconds
    held = served(requests, seconds, Rules(kv_tokens=900.0, reserves=True))
    assert held.preempted == 0
    assert held.most_running == 4


def test_prompts_that_gather_wait_for_company_or_time() -> None:
    requests = [Request(100, 400), *(Request(100, 5, 1.0 + 0.3 * i) for i in range(3))]
    eager = served(requests, seconds, Rules())
    patient = served(requests, seconds, Rules(gather_steps=20, gather_tokens=1e9))
    crowd = served(requests, seconds, Rules(gather_steps=10**6, gather_tokens=300))
    assert max(eager.first[1:]) < min(patient.first[1:2])
    assert patient.first[1] == pytest.approx(20 * 0.02, rel=0.3)
    assert crowd.first[1] - crowd.first[3] == pytest.approx(0.6, abs=0.03), "all three start with the last"


def test_rare_looks_for_requests_make_them_wait() -> None:
    requests = [Request(100, 600), *(Request(100, 2, 0.5 + 0.9 * i) for i in range(10))]
    often, rare = (served(requests, seconds, Rules(poll_steps=n)) for n in (1, 30))
    more = (sum(rare.first[1:]) - sum(often.first[1:])) / 10
    assert 0.2 * 30 * 0.0202 < more < 30 * 0.0202


@pytest.mark.parametrize("budget", [64, 512, 4096])
def test_a_long_prompt_is_cut_by_the_budget(budget: int) -> None:
    got = served([Request(4096, 2)], seconds, Rules(budget=budget))
    passes = -(-4096 // budget)
    assert len([p for p in got.passes if p.tokens]) == passes
    assert got.first[0] == pytest.approx(passes * 0.01 + 0.4096)


def test_work_is_the_same_whoever_goes_first() -> None:
    """Output tokens and prompt tokens of all passes are those of the requests."""
    for policy in ("mixed", "prefill-first", "decode-first"):
        got = served(drawn(), seconds, Rules(policy, 512, 16), 24)
        assert sum(p.tokens * p.repeat for p in got.passes) == sum(r.prompt for r in drawn())
        assert sum(p.decodes * p.repeat for p in got.passes) == sum(r.output - 1 for r in drawn())


def test_rules_that_are_off_change_nothing() -> None:
    plain = served(drawn(), seconds, Rules(), 8)
    off = served(drawn(), seconds, replace(Rules(), gather_steps=0, gather_tokens=1e9, poll_steps=1, lag=0.0), 8)
    assert (plain.first, plain.ended) == (off.first, off.ended)
