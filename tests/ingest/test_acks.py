"""Devices are told what is on disk: soon, not too often, and nothing is forgotten in between."""

from lichtmast.ingest.pipeline.acks import Acks
from lichtmast.wire.acknowledgement import Acknowledgement, Refused, decode_acknowledgement
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.topics import ack_subject

DEVICE = "gm0402/lm-1"
SUBJECT = ack_subject(DeviceId.parse(DEVICE))


def test_the_first_is_told_at_once_and_the_next_after_the_interval() -> None:
    acks = Acks(interval_s=1.0)
    acks.offer({DEVICE: (7, 1, (), ())})
    assert list(acks.due(100.0)) == [(SUBJECT, Acknowledgement(7, 1).encode())]
    acks.offer({DEVICE: (7, 2, (), ())})
    acks.offer({DEVICE: (7, 3, ((5, 6),), ())})
    assert list(acks.due(100.9)) == []
    assert len(acks) == 1
    [(subject, payload)] = acks.due(101.0)
    assert subject == SUBJECT
    assert decode_acknowledgement(payload) == Acknowledgement(7, 3, ((5, 6),))
    assert len(acks) == 0


def test_refusals_of_several_commits_are_told_together() -> None:
    acks = Acks()
    acks.offer({DEVICE: (7, 1, (), (Refused(1, "unknown_name", "x"),))})
    acks.offer({DEVICE: (7, 2, (), ())})
    acks.offer({DEVICE: (7, 3, (), (Refused(3, "wrong_unit", "y"),))})
    [(_, payload)] = acks.due(0.0)
    assert [one.seq for one in decode_acknowledgement(payload).refused] == [1, 3]


def test_a_new_epoch_leaves_the_refusals_of_the_old_behind() -> None:
    acks = Acks()
    acks.offer({DEVICE: (7, 1, (), (Refused(1, "unknown_name", "x"),))})
    acks.offer({DEVICE: (8, 1, (), ())})
    [(_, payload)] = acks.due(0.0)
    assert decode_acknowledgement(payload) == Acknowledgement(8, 1)


def test_devices_do_not_wait_for_each_other() -> None:
    acks = Acks(interval_s=1.0)
    acks.offer({DEVICE: (7, 1, (), ())})
    assert len(list(acks.due(0.0))) == 1
    acks.offer({DEVICE: (7, 2, (), ()), "gm0402/lm-2": (7, 1, (), ())})
    assert [subject for subject, _ in acks.due(0.5)] == ["lm.gm0402.lm-2.ack"]
