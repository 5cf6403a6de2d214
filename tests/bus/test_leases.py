"""What a process may do to a symbol, by its leases alone: no server, and a clock that the test sets."""

import logging

import pytest

from pulse.bus.leases import ALONE_AFTER_S, HELD_S, LEASE_S, LINGER_S, RENEW_EVERY_S, RETURN_S, Answer, Leases, Role

BTC, ETH = "BTCUSDT", "ETHUSDT"
OURS, THEIRS, NOBODYS = (
    Answer("us", 7, 2.0, False, ()),
    Answer("them", 8, 1.2, False, ()),
    Answer("", 0, 0, False, ()),
)


class Scene:
    """The leases of the process "us", which has BTC open, at a time that tests move on."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.seen = {BTC: 0}
        self.leases = Leases(
            "us",
            lambda: self.now_s,
            watching=lambda symbol: "10;" if symbol == ETH else "",
            seen_token=lambda s: self.seen.get(s, 0),
        )
        self.leases.open(BTC)

    def answer(self, answer: Answer, symbol: str = BTC) -> float:
        """Take an answer to a round that is sent now."""
        return self.leases.on_answers(self.now_s, [(symbol, answer)])

    def role(self) -> Role:
        """Return what the process is to BTC."""
        return self.leases.role(BTC)


@pytest.fixture
def scene() -> Scene:
    """Return a scene in which nothing has been answered."""
    return Scene()


def test_an_owner_gives_up_before_the_server_does(scene: Scene) -> None:
    """A lease counts from when it was asked for, and for less time than the server keeps it."""
    scene.answer(OURS)
    assert (scene.role(), scene.leases.token(BTC)) == (Role.OWNER, 7)

    scene.now_s += HELD_S
    assert (scene.role(), scene.leases.token(BTC)) == (Role.UNDECIDED, None)
    assert HELD_S < LEASE_S


def test_an_answer_that_took_long_leaves_less_time(scene: Scene) -> None:
    """The time between asking and the answer is not held twice."""
    sent_s = scene.now_s
    scene.now_s += HELD_S
    scene.leases.on_answers(sent_s, [(BTC, OURS)])

    assert scene.role() is Role.UNDECIDED


def test_a_process_that_was_stopped_is_no_owner_when_it_goes_on(scene: Scene) -> None:
    """No answer and no task is needed for that: only the clock."""
    scene.answer(OURS)
    scene.now_s += 60

    assert scene.role() is Role.UNDECIDED
    assert (scene.leases.token(BTC), scene.leases.view_token(BTC)) == (None, 7)
    assert scene.leases.watching_elsewhere(BTC) == ()


def test_another_owner_is_followed(scene: Scene) -> None:
    """A process that is told of another owner has no token, also if it was the owner."""
    scene.answer(OURS)
    scene.answer(THEIRS)

    assert (scene.role(), scene.leases.token(BTC), scene.leases.view_token(BTC)) == (Role.FOLLOWER, None, 0)


def test_without_answers_a_process_is_alone(scene: Scene) -> None:
    """At the start, and when the server no longer answers: never an owner."""
    scene.leases.on_outage()
    assert scene.role() is Role.UNDECIDED
    scene.now_s += ALONE_AFTER_S
    scene.leases.on_outage()
    assert scene.role() is Role.ALONE
    scene.leases.open(ETH)
    assert scene.leases.role(ETH) is Role.ALONE  # opened when it was known that nothing answers

    scene.answer(THEIRS)
    scene.leases.on_outage()
    assert scene.role() is Role.FOLLOWER
    scene.now_s += ALONE_AFTER_S
    assert (scene.role(), scene.leases.token(BTC)) == (Role.ALONE, None)


def test_views_of_one_that_is_alone_have_the_highest_token_known(scene: Scene) -> None:
    """Its own clients were shown views of that token."""
    scene.answer(THEIRS)
    scene.seen[BTC] = 9
    scene.leases.on_outage()
    scene.now_s += ALONE_AFTER_S

    assert scene.leases.view_token(BTC) == 9


def test_views_of_a_former_owner_keep_its_token(scene: Scene) -> None:
    """Until it is alone: a view of a newer owner may be there already."""
    scene.answer(OURS)
    scene.seen[BTC] = 9
    scene.now_s += HELD_S

    assert scene.leases.view_token(BTC) == 7


def test_a_symbol_without_leases_has_the_token_that_was_seen() -> None:
    """A process that takes part in no lease shows its own views to its clients."""
    leases = Leases("us", lambda: 0.0, seen_token=lambda _: 5)

    assert leases.view_token(BTC) == 5


def test_a_new_token_must_be_above_all_that_are_known(scene: Scene) -> None:
    """Those of other owners, and those of views."""
    scene.answer(THEIRS)
    assert scene.leases.requests()[0].floor == 8
    scene.seen[BTC] = 11
    assert scene.leases.requests()[0].floor == 11


def test_a_refused_token_is_given_up(scene: Scene) -> None:
    """The database has seen a higher one: the next token is above that."""
    scene.answer(OURS)
    scene.leases.wake.clear()
    scene.leases.refuse(BTC, 20)

    request = scene.leases.requests()[0]
    assert (scene.leases.token(BTC), request.token, request.floor) == (None, 0, 20)
    assert scene.leases.wake.is_set()


def test_a_late_refusal_changes_nothing(scene: Scene) -> None:
    """It was about a token that has been replaced, or of a symbol that is closed."""
    scene.answer(OURS)
    scene.leases.refuse(BTC, 6)
    scene.leases.refuse(ETH, 20)

    assert scene.leases.token(BTC) == 7


def test_after_an_outage_the_last_owner_comes_first(scene: Scene) -> None:
    """Another process waits a moment before it takes a lease that nobody has."""
    scene.answer(THEIRS)
    scene.leases.on_outage()
    scene.now_s += 10
    assert not scene.leases.requests()[0].may_take  # this round may be the first that is answered
    assert scene.answer(NOBODYS) < RETURN_S
    assert not scene.leases.requests()[0].may_take

    scene.now_s += RETURN_S
    scene.answer(NOBODYS)
    assert scene.leases.requests()[0].may_take


def test_the_last_owner_does_not_wait_after_an_outage(scene: Scene) -> None:
    """Its book is whole, and its viewers see it."""
    scene.answer(OURS)
    scene.leases.on_outage()
    scene.now_s += 10
    scene.answer(NOBODYS)

    assert scene.leases.requests()[0].may_take


def test_a_start_before_the_server_answers_is_no_outage(scene: Scene) -> None:
    """The first process takes what nobody has, at once."""
    scene.leases.on_outage()
    scene.answer(NOBODYS)

    assert scene.leases.requests()[0].may_take


def test_the_next_round_comes_when_another_lease_ends(scene: Scene) -> None:
    """One whose owner dies is free for no longer than that; otherwise the own renewals decide."""
    assert scene.answer(OURS) == RENEW_EVERY_S
    assert scene.answer(Answer("them", 8, 0.25, False, ())) == 0.25
    assert scene.answer(THEIRS) == RENEW_EVERY_S


def test_a_closed_symbol_is_given_back_later(scene: Scene) -> None:
    """Its last candles are written with its token; opened again meanwhile it goes on as it was."""
    scene.answer(OURS)
    scene.leases.close(BTC)
    assert not scene.leases.requests()[0].is_leaving
    scene.leases.open(BTC)
    scene.now_s += LINGER_S
    assert scene.leases.requests()[0].may_take

    scene.leases.close(BTC)
    assert not scene.leases.requests()[0].may_take
    scene.now_s += LINGER_S
    assert scene.leases.requests()[0].is_leaving
    scene.answer(NOBODYS)
    assert scene.leases.requests() == []


def test_what_others_do_with_a_symbol_is_known_to_its_owner(scene: Scene) -> None:
    """While it is the owner."""
    scene.answer(Answer("us", 7, 2.0, True, ("10;", ";")))
    assert (scene.leases.is_followed(BTC), scene.leases.watching_elsewhere(BTC)) == (True, ("10;", ";"))

    scene.answer(THEIRS)
    assert (scene.leases.is_followed(BTC), scene.leases.watching_elsewhere(BTC)) == (False, ())


def test_own_watchers_are_told(scene: Scene) -> None:
    """Of the symbols that have some."""
    scene.leases.open(ETH)

    assert [(request.symbol, request.watching) for request in scene.leases.requests()] == [(BTC, ""), (ETH, "10;")]


def test_an_unknown_symbol_is_undecided(scene: Scene) -> None:
    """It is not open here; an answer about one that was closed meanwhile is ignored."""
    scene.answer(OURS, ETH)

    assert (scene.leases.role(ETH), scene.leases.token(ETH)) == (Role.UNDECIDED, None)
    assert (scene.leases.is_followed(ETH), scene.leases.watching_elsewhere(ETH)) == (False, ())


def test_changes_wake_every_listener_and_are_logged_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each change in the number of symbols of a role."""
    first, second = scene.leases.changes(), scene.leases.changes()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            scene.answer(OURS)

    assert first.is_set()
    assert second.is_set()
    assert caplog.messages == ["leases owner=1 follower=0 alone=0 undecided=0"]
