"""Blocks: what was written is read, by later programs too, and what differs from it in any bit is refused."""

import base64
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given

from pulse.errors import BadBlock
from pulse.past.block import (
    BODY_BYTES_MAX,
    CHECKED,
    MAGIC,
    META_BYTES_MAX,
    PREFIX,
    VERSION,
    Block,
    decode_block,
    decode_meta,
    decode_prefix,
    encode_block,
)
from pulse.past.events import Row
from pulse.past.playback import decode_rows, open_block, play
from tests.support.makers import MIDNIGHT_MS, unhurried
from tests.support.past import OTHERS, block_of, small_session, some_rows

GOLDEN = (
    "P)t)o0RR91Bmn>bX9NHMIs*Uz^4#3+%CBvU?dg&!dm?jrZDMb1B03^MR6|u$L{uUyB6ekNb!8$tB6V{jEFyAsZX!A&Ic76qV=^&fA}k_qb!}p0aw0k~E"
    "FxxdZ*5;~b0Ru1H!?FZHZe9ZFfcGMEFyGoUu|<DIx#mgGch(XHZU|WIXNsMV{C6@YhP`1B04cJFfc44Y+-"
    "YBUv+R~VRU6*X=EZgFf1Z+Z+CMdIx#mlEFxrSW@d9DIxs9EbaG*2Wpg4rFf1ZrW^`q8B03^;Xk{R9a&Kd0b8{efVRImJbYXIIWn>~OB4uu5b0Rt-"
    "A}k_vbYXO5b0RuhTQN5>Gch(XHZU+SFfc44Y-"
    "x67A}k^zU0p09X>Ma_WMyu2b0RuhT`VGSa&K>DB075_a%FRQZew#IIxu~G;1BTxUjYCCx<Bn0=JUt)bMXsvFZ3Zqro|20w~E(Sr>H%Lbcwvz2;2A{FVR"
    "`4g<mfP;<SeZrPD?ob;}(Ui=ZC~tP8DOk^8&zJCO{u{Ra5jB6?sJ%6dr_a8cfoiCGlC-"
    "q~~c{k}Y8Sm<9zwgk`e?oUB6##f4K;SPNSh3bqv#>^0Yt<!}^XB0`t!OBU4#M-^=^9w*sBNGd>>aWy?Be-"
    "%bA{UzUE=;iu4pVvZR1_VGcauP<9`umQF8~}!fO2|!MHx=0$>v}u6@U5ytBFO98zbB=bwa^f5oIJv91%#~=-"
    "gAhK)p7@A%th9o75e#FDK={>XoJy&HGU9#d=n^+J?Qzr#@Oj()aG}VMVEe;~y%TjS^oI<Y=Xh2El>HTW3>cK4_*_sD*)V7d}<y6Z`!rl7!*wZ(~Snt|`"
    "aI7t2a*NpXHdE^akRcH1N*o$~2hiGPnI@8U1b!j1?e78}4su-Lety4p6>2J69$!5?J+P`hq9f<``vAft2>=nrRCi&Ga=9hFFIkuTQpo^MNjjU7g$stY8"
    "+xH;Ylqu`+-zl-#8HzaGPI+kJ<(PQyiDuByAsS(b8HwLtT_7Ytm08AML6%sis0SCqmq`m^0QLgr0li+d#O2(ew-XPrgFR|yMi@-"
    ")Q<bzrJUCGjHuH%k^#pcOE=0i+wB#U$8(G-4Csz6T}*0TDhcL)~`S9!toD$F`J%U8=kfp;{dXtsgMg`3BEvgu{9rG%Z9XjGk;b8+p{8qE)91s-"
    "v$ieV;k4z3Q<F=!XAb?G|hnkW0T`HH|Iq}6zldR@NLJ|jsU&(O1Qw%#Q{UZVZC@UN!{FIiT1L7EPEt3LHpwS`+0DS2Nco@Nz?ZK^w8tC8ue1Uq>55Y$K"
    "zFL^T&+U5YwcoJ=TyTyL=L^P}9ukJY05WNU9#cb{4XWnT{msnDiA}8Q=QHLH|UxsQ&tk<S^pZ6Kf(TC()k*d}k?Us4q?0W>V=1FK$fYnJURTA#qF!*+6"
    "Orieqc}xP<@}WS{gZ3D}g_9EGnRi|nx^I6qp`>BO=$k#jsCza34-ED7K0-%#LGn0hedjfBPvyHakduW><HW4>|4FifY`K1DD2U^97fWK%9|z6Z#7PdS-"
    "^e|;ED%8;>V8`rmYxM=jXJGN=qv=w{;%pDWD1IvJ~%vX^H&}*?K(Z=y`F>|O)d+TjFl$Km2q1aOLRh5LlbH%F5hmQ6Qy_YCz(b{i`BNT6)$UvNUZ<TvZ"
    "M9a|CeRk3_1r}IS;b6sppD!-g84IEeoGpfqkagG)x1?$nG|^u#~mvdH`cV?CB=Ji%l{PT{9UGZ}<Lv9F-Xjzb?rCh=(>9HPwYrh}yw9daX#f_-"
    "vBbm|&}V9JdMDoG{Qfm;l-?iyYlE0mQtxh*W)xN5mO>rzEn&eh-pw^IGvZO6VZ2ji%Fz$&*`i3HrF<1FJE9sIBm;Mh#R?cG5&Nw~_$h5BdW#0RR91RGh"
    "Bgt2y<-R{bYr<(-5P#QQcZaXbrh?=C3*RBkrx_rQsrYgoCOmK#}tyKaV>?2<_bsp)G=$QA3j%}A$4;r?xkrn%Gy45Y(7niiEY-44tF7g`E-"
    "F6Ayh@kCLYS}knrGLvCRqc~S|hfv`jDa?L%_SZ-uPMP&SPZJX%e3HkC#E860z_2d-"
    "dW5`*Lth(S)SN1|^<W}Y?~t(Fil$>*)P2DW4{Fo4Y6w@9B&9ktk`ggi5c^3c<p-"
    "b_dybsmC={kKk|m86FGkyvOhD{Ux<kS*ZMett|GpF&EdziiJd4u<(^h5{k@JUSO3#U<vEku}_wpz0u5w4fjnpA*ZhX$0a^2^SYwq}Y8d^@7fW%+2X3gT"
    "0+w_;n1K~0fctJ=b1Awo8dQoE*uix8240=il&8z1Fi-cdUXWGjM^3i)%2B0;>@05Yw@DsUL@O9~Hk6w_w2WDYRdjc_j&(>>ySR7rF%^Hvxw)0D55Le#I"
    "Xdqb<OJ*1UoUMyVJim>xtOKSo)E@}<>Th|&CWXazihNQ&yw>_;Mf8g)Rnf2~bYKG1W&lr=bX5iXRFNqDVhi<QS><&YYsF)Znzo8G_n5O%)5LkaRs0M{@"
    "vC@jK6?e!?iWNS*Of=Byc4$zw}6t0_2*H#`o(9xIL4okM|~60z0yKOLv0`^n}KS?sXII4f4RAfP$vH<AzQ93pcU@x4ZC8;fDR}RP$-"
    "b>*thf5J9Td4@~Bd@s%nwCJ#RvN``sJDQmG&K1&ZN6%<N5EH4H(kLMJ)kT!bOwzn&mGrdB53oS!<Aw$3E`PE;VteWvb|G#sD3rW~kP?TRz|kTq@xBF>&"
    "s*@x77XqJetcM4eCBo~g-"
    "T}$leDa#H?QKRUBFJ6O;ddt=FfnZ{+;p?yu?$`p;trM#Y)~y1@VQ+D81rEd?X$?~ZRHW2mgFo0UR{Da+;&Cjgtz*V4WY>X8_J#KGJe2gQR^c~jTQ9gId"
    "5Uw#GS9mnSR){@2c4r6cHr~!km5tu11o}j1J8#4CW7}!G~0oTPJTASn^-xp20i0=H0k`qYY<%p4Pe#)00"
)
"""A block of version 1 in base 85, as the first program that wrote any made it of `small_session`."""


def small_block() -> Block:
    """Return a block of some seconds."""
    return block_of(small_session(), states=[[MIDNIGHT_MS, "live", ""]], proof={"resyncs": 0})


def test_golden_block_is_read_for_ever() -> None:
    """A block on a disk outlives the program that wrote it: its rows and its description are what they were."""
    block = decode_block(base64.b85decode(GOLDEN))

    assert block.meta == small_block().meta
    assert decode_rows(block.rows) == small_session()


def test_golden_block_shows_the_same_view() -> None:
    """Its state is one of this program; where that changes, this block needs a reader of its own."""
    market, rows = open_block(decode_block(base64.b85decode(GOLDEN)))
    *_, view = play(market, rows, 0.0)

    assert view is not None
    assert (view.last_update_id, view.bids[:2], view.instrument) == (50, [(100.0, 5.0), (99.99, 42.0)], OTHERS[9])


@given(some_rows.filter(bool))
@unhurried
def test_block_is_read_as_it_was_written(rows: list[Row]) -> None:
    """Whatever its rows."""
    block = block_of(rows, to_ms=MIDNIGHT_MS)

    assert decode_block(encode_block(block)) == block


def test_no_block_that_was_damaged_is_read() -> None:
    """200 random ends and 200 random bits: each is refused."""
    data = encode_block(small_block())
    rng = random.Random(17)
    for _ in range(200):
        with pytest.raises(BadBlock):
            decode_block(data[: rng.randrange(len(data))])
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with pytest.raises(BadBlock):
            decode_block(bytes(flipped))


def test_bytes_after_a_block_are_not_part_of_it() -> None:
    """Their number is that of the prefix."""
    with pytest.raises(BadBlock, match="not the"):
        decode_block(encode_block(small_block()) + b"\0")


def prefix(version: int = VERSION, meta: int = 0, keyframe: int = 0, rows: int = 0) -> bytes:
    """Return a prefix whose own checksum is right."""
    head = PREFIX.pack(MAGIC, version, meta, keyframe, rows, 0, 0, 0)[:CHECKED]
    return head + struct.pack("<I", zlib.crc32(head))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (prefix(version=VERSION + 1), "version 2; this program reads 1"),
        (prefix(meta=META_BYTES_MAX + 1), "longer than"),
        (prefix(keyframe=BODY_BYTES_MAX, rows=1), "longer than"),
        (prefix()[:-1], "within its prefix"),
    ],
)
def test_prefix_of_another_format_is_refused(data: bytes, reason: str) -> None:
    """A later version, or a length that no block has."""
    with pytest.raises(BadBlock, match=reason):
        decode_prefix(data)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[", "no JSON"),
        (b"[]", "not its fields"),
        (b"{}", "not its fields"),
    ],
)
def test_description_of_another_format_is_refused(text: bytes, reason: str) -> None:
    """Whole, but not one of a block."""
    found = decode_prefix(prefix())._replace(meta_bytes=len(text), meta_sum=zlib.crc32(text))
    with pytest.raises(BadBlock, match=reason):
        decode_meta(found, text)


@pytest.mark.parametrize(
    ("change", "reason"), [({"run": 1}, "wrong type"), ({"to_ms": 0}, "not in order"), ({"from_ms": -1}, "order")]
)
def test_description_with_wrong_values_is_refused(change: dict[str, Any], reason: str) -> None:
    """A number for a text, an end before the beginning."""
    data = encode_block(block_of(small_session(), **change))
    with pytest.raises(BadBlock, match=reason):
        decode_block(data)


def test_times_of_rows() -> None:
    """A row has the process's clock, a block says which time of day that is."""
    meta = small_block().meta

    assert meta.wall_ms(meta.clock_ms + 5) == MIDNIGHT_MS + 5
    assert meta.row_ms(MIDNIGHT_MS + 5) == meta.clock_ms + 5


def test_which_block_continues_another() -> None:
    """The next one of the same run, unless it says what came before it."""
    first = small_block().meta
    rows = small_session()

    assert block_of(rows, 1).meta.continues(first)
    assert not block_of(rows, 2).meta.continues(first)
    assert not block_of(rows, 1, run="another").meta.continues(first)
    assert not block_of(rows, 1, after="rows were dropped").meta.continues(first)
