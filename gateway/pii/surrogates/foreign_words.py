"""Words of a value that the surrogate of its entity would carry through as they are.

Surrogates of numbers, dates and ages keep what stands around the digits. A span that was united from several findings
(`gateway.pii.spans`) has the label of one of them, so that around those digits a name may stand. Such a value gets a placeholder
for the whole of it instead. For a date only words with a capital letter, and Chinese ones, count: what a model finds as a time
("the past three weeks") has more words than a list can know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.pii.surrogates.name_lists import words

_WORD = re.compile(r"[^\W\d_]+")
_HAN = re.compile(r"[\u4e00-\u9fff]")

_PHONE = frozenset(words("x ext extn extension tel phone telephone fax mobile cell no nr o 电 话 手 机 号 码 转 分 传 真"))
_AGE = frozenset(words("year years yr yrs y yo o old month months mo week weeks day days aged age of a the 岁 周 虚 个 月 天 大 年 龄 日"))
_DATE = frozenset(
    words(
        """january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept
        oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun st nd rd th
        of the at on in am pm a p m t z utc gmt est edt cst cdt mst mdt pst pdt bst cet cest noon midnight today yesterday tomorrow
        tonight last next this early mid late spring summer autumn fall winter christmas easter new year eve day days week weeks month
        months years hour hours minute minutes ago since until from to and between around about before after born dob
        年 月 日 号 点 时 分 秒 星 期 周 礼 拜 天 上 下 中 午 早 晚 夜 凌 晨 傍 今 明 昨 前 后 去 本 这 那 每 初 底 末 旬 春 夏 秋 冬 季 度
        世 纪 代 零 〇 一 二 三 四 五 六 七 八 九 十 廿 百 千 两 半 几 多 第 农 历 阴 阳 公 元 正 腊 大 小 以
        内 间 到 至 起 生 于 出 的 整"""
    )
)
_KNOWN: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("CREDIT_CARD", "CN_BANK_CARD", "US_SSN", "US_ITIN", "UK_NHS"), frozenset()),
    **dict.fromkeys(("PHONE_NUMBER", "CN_MOBILE"), _PHONE),
    **dict.fromkeys(("DATE_TIME", "DATE_OF_BIRTH"), _DATE),
    "AGE": _AGE | _DATE,
}


def holds_foreign_words(entity: str, value: str) -> bool:
    """Whether the value holds words that do not belong to its entity and that a surrogate would leave standing."""
    known = _KNOWN.get(entity)
    if known is None:
        return False
    for word in _WORD.findall(value):
        if _HAN.search(word):
            if any(character not in known for character in word):
                return True
        elif word.casefold() not in known and (entity != "DATE_TIME" or word[0].isupper()):
            return True
    return False
