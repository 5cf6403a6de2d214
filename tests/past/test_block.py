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
    "P)t)o0RR91836zQas&VXIs*Uz;X{mnB-"
    "h20_+TsRdm?jrZDMb1B03^MR6|u$L{uUyB6ekNb!8$tB6V{jEFyAsZX!A&Ic76qV=^&fA}k_qb!}p0aw0k~EFxxdZ*5;~b0Ru1H!?FZHZe9ZFfcG"
    "MEFyGoUu|<DIx#mgGch(XHZU|WIXNsMV{C6@YhP`1B04cJFfc44Y+-"
    "YBUv+R~VRU6*X=EZgFf1Z+Z+CMdIx#mlEFxiMbY*fPIwEvvWgu{JZ)0V1b0BwNb0BkcVRCe3WFjmgWo~41B03@>EFxxXVRs@rA|fmzb97;JWpg4r"
    "TU#+VGBYtYF*YzTFfcGIB5Y}PWg;vhB3)f9B57`8X=G(?baNs)TU{(7aB^>NW+FO!B64MOd2VBKB04aAec%um1Zn{Q0fHQ2dB;|(U;Xa59RJsiR5"
    "JDe?dm<lCFlOSmfT~>6DIg_tjOS3leO{pnd~V*@U^t2A~B&pmGDm&m&&<jJk|*863#QFKtZrCfHY;d+|h5Ja6pW;i=M}7u$9VL@}4_5WNV_X0gJY"
    "ge^fig19%s5lusD6I2}R=VA;6^46x%E<K#yU1i{wdOsWNv{(^Y(-"
    "1bq!?ySyeo(;rpRUG1Rqjvb>4nRfAV+2xZ+#sN1r{o;fUnc~GK7n*bghmcw5JNPQjHFk<*MhI>T7bn2S(f!RUU9$~o4~21qLG~C7D{#cRJdtkETm"
    "~dJ4-jA7@umHC;Vtt@23m}A}YNE7qpJuc-hniUZy_kUuG*;BVUhuI6UbUP#sV5;dW${r*$&X3Ft~W3!dr9>FoHr+B{D}fWt22+pMTCLfQd>A_2ER"
    "BMe$b0m1g{vZd!5vG7by@L)YkM17()J<-w*tq1T|!8M>tCU?9otx-L{?4EXJ^G@ySQ$uH#2EFBw;RS@$?4&Nz@!re#5iBRgjvzk)^oy)^6^o&q+-"
    "{%+A*Ez%ULti{GIa5zR<{jgYXr$fb*SfGNG9NrIOA8SP%%R{>0$n!cU;{;Y^PTZHT&F4Rze(^tc~tc^iSncB)Y%;VsLlV2gJm_v}R4fYuZd6@#wR"
    "~vG$`L5@jav<6Z1Lz&Jth>Z%(%Sn^4l#K5|J;Io-`VUj{HV;@l*T~M?im|N9lcF+a`>kx}x3@^bG)1_?_F1=ip&Q<R-"
    "^q>|+nIh<!xRdA|1j#SgS&M`3?>1@t22M(CP3$(xP;{wyiF-8JDTA;N7%RAb6RU+E*dh&ZG@2W?qxfeAk9eb*h-"
    "YWzz%%koq<kd^TUUr#y4_((3Ki=QzQJ&iE=hgs%v#@K*qtSuc&l~ae}2H6nd1?YDkpZ5Vy4*5RTpsLsk)gA<J=bhIw8k#ro_eOvJurc9r}y&;9CZ"
    "~>0XN1=Y%FrXEQl<hcjTp&4pN-rIV2WWxM4wIQd3NK&IL%p2M*;nDvvsA>dd!A=Ss~#UN%MUR8jYmh6t<veiPRuCvFTRHeC2vbD{AVED?e{K$~w>"
    "IafI=K9$XQ$Sp@*pW5W@EQujAd+tR^IsHCbo>8?BIUyreDi1%vE{yF9sE6_WIph@cM+V>)N__a$$~oD(&>iYF2o8Ep+Ar(fNs9Stz+R(dILQ9yx*"
    "370APqxZ3~ipiXe}V8EnWwXu6lfy4K4iWVp;}^B~x`jDlLMeY1?D7pTU#AYH%?hS0rKF*e(<*yH{4DG!H%tj6VCltvpA=B7oK+S|&Fq=9FZMci+F"
    "zGlvFujRBz?;LG5-"
    "<7k7&O;9Fg+)7j_lqQETu~7WUtZ?E04sFY6mDbBjp8nu{=8}2*}s$kF8=_FQas%_=cHRd8fEMf$@ekS>FkD>&M${lL;MxZTG%C(VwkUK`SFhXNU4"
    "aALp#`_xVWBX_B}Sn$uq2H1#SS~5BdW#0RR91RGhBgt2y<-R{bYr<(-"
    "5P#QQcZaXbrh?=C3*RBkrx_rQsrYgoCOmK#}tyKaV>?2<_bsp)G=$QA3j%}A$4;r?xkrn%Gy45Y(7niiEY-44tF7g`E-"
    "F6Ayh@kCLYS}knrGLvCRqc~S|hfv`jDa?L%_SZ-uPMP&SPZJX%e3HkC#E860z_2d-"
    "dW5`*Lth(S)SN1|^<W}Y?~t(Fil$>*)P2DW4{Fo4Y6w@9B&9ktk`ggi5c^3c<p-"
    "b_dybsmC={kKk|m86FGkyvOhD{Ux<kS*ZMett|GpF&EdziiJd4u<(^h5{k@JUSO3#U<vEku}_wpz0u5w4fjnpA*ZhX$0a^2^SYwq}Y8d^@7fW%+2"
    "X3gT0+w_;n1K~0fctJ=b1Awo8dQoE*uix8240=il&8z1Fi-cdUXWGjM^3i)%2B0;>@05Yw@DsUL@O9~Hk6w_w2WDYRdjc_j&(>>ySR7rF%^Hvxw)"
    "0D55Le#IXdqb<OJ*1UoUMyVJim>xtOKSo)E@}<>Th|&CWXazihNQ&yw>_;Mf8g)Rnf2~bYKG1W&lr=bX5iXRFNqDVhi<QS><&YYsF)Znzo8G_n5O"
    "%)5LkaRs0M{@vC@jK6?e!?iWNS*Of=Byc4$zw}6t0_2*H#`o(9xIL4okM|~60z0yKOLv0`^n}KS?sXII4f4RAfP$vH<AzQ93pcU@x4ZC8;fDR}RP"
    "$-"
    "b>*thf5J9Td4@~Bd@s%nwCJ#RvN``sJDQmG&K1&ZN6%<N5EH4H(kLMJ)kT!bOwzn&mGrdB53oS!<Aw$3E`PE;VteWvb|G#sD3rW~kP?TRz|kTq@x"
    "BF>&s*@x77XqJetcM4eCBo~g-"
    "T}$leDa#H?QKRUBFJ6O;ddt=FfnZ{+;p?yu?$`p;trM#Y)~y1@VQ+D81rEd?X$?~ZRHW2mgFo0UR{Da+;&Cjgtz*V4WY>X8_J#KGJe2gQR^c~jTQ"
    "9gId5Uw#GS9mnSR){@2c4r6cHr~!km5tu11o}j1J8#4CW7}!G~0oTPJTASn^-xp20i0=H0k`qYY<%p4Pe#)00"
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
