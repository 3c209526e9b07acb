"""Names that the language models found in running text: persons, organisations, places, dates."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.pii.reading import Reading
from gateway.pii.recognizers.base import Finding, Pattern, PatternRecognizer, Recognizer
from gateway.pii.recognizers.plausible import NOT_NAMES, plausible

NAMED_ENTITIES = ("PERSON", "ORGANIZATION", "GPE", "LOCATION", "DATE_TIME", "AGE", "STREET_ADDRESS", "ZIP_CODE")


class ModelNamesRecognizer(Recognizer):
    """Passes on what `Reading.named` holds, as far as it can be what it is said to be."""

    entities = NAMED_ENTITIES

    def find(self, reading: Reading) -> Iterator[Finding]:
        for name in reading.named:
            for start, end in plausible(name.entity, reading.text, name.start, name.end):
                yield Finding(start, end, name.entity, name.score)


_WORD = r"\p{Lu}[\p{L}'’-]+"


class TitledPersonRecognizer(PatternRecognizer):
    """A name after a title, in any case: "Dr. Connor", "mr j. smith", and before one in Chinese: "王医生"."""

    entity = "PERSON"
    patterns = (
        Pattern(
            rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Dame|Lord|Lady|Rev|Fr|Herr|Frau|Mme|Sr|Sra|Judge|Justice|Nurse|"
            rf"Sgt|Capt|Lt|Col|Officer|Detective)\b\.? ((?:\p{{Lu}}\. ?){{0,2}}{_WORD}"
            rf"(?: (?:van|von|de|la|der|den|bin|al|el|di|da|\p{{Lu}}\.|{_WORD})){{0,3}})",
            0.85,
            group=1,
        ),
        Pattern(r"(?i)\b(?:mr|mrs|ms|dr|prof)\.? ((?:[a-z]\. ?){0,2}[a-z][a-z'-]{2,20})\b", 0.5, group=1),
        Pattern(
            rf"(?i:\bmy name(?:'s| is)|\bname ?[:=]|\bi am called|\bcall me|\bsigned,|\b(?:best|kind|warm) regards,|"
            rf"\bsincerely,|\bcheers,|\bpatient:|\bcontact:|\bcustomer:|\bclient:|\bemployee:|\bdear) ?\n?"
            rf"({_WORD}(?: (?:\p{{Lu}}\.|{_WORD})){{0,3}})",
            0.6,
            group=1,
        ),
        Pattern(r"(?i)\bmy name(?:'s| is) ([a-z][a-z'-]{1,20}(?: [a-z][a-z'-]{1,20})?)(?:[.,;!?\n]|$| and\b)", 0.55, group=1),
    )

    def validate(self, value: str) -> bool:
        return value.split()[0].lower() not in NOT_NAMES


SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向汤温康施文牛樊葛邢安齐"
    "易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师"
)
_COMPOUND = "(?:欧阳|司马|上官|诸葛|夏侯|皇甫|尉迟|公孙|慕容|令狐|司徒|东方|独孤|南宫|长孙|宇文)"


class ChinesePersonRecognizer(PatternRecognizer):
    """A surname and given name beside the words that introduce or title a person."""

    entity = "PERSON"
    patterns = (
        Pattern(
            rf"(?:我叫|叫做|名叫|我是|姓名[是为：:]? ?|联系人[是为：:]? ?|收件人[是为：:]? ?|患者[：:]? ?|"
            rf"客户[：:]? ?|经办人[：:]? ?|法定代表人[：:]? ?|户主[：:]? ?|"
            rf"持卡人[：:]? ?|申请人[：:]? ?|原告[：:]? ?|被告[：:]? ?|病人[：:]? ?|"
            rf"车主[：:]? ?|业主[：:]? ?|房东[：:]? ?|租客[：:]? ?|乘客[：:]? ?|学生[：:]? ?|家长[：:]? ?|员工[：:]? ?|"
            rf"寄件人[：:]? ?)((?:{_COMPOUND}|[{SURNAMES}])\p{{Han}}{{1,2}}?)"
            rf"(?:[，。,.、；;：:！!？?\s（(\"]|$|[，,]?(?:电话|手机|身份证|住|的|在|于|和|与|男|女|今年|年龄|出生))",
            0.85,
            group=1,
        ),
        Pattern(
            rf"((?:{_COMPOUND}|[{SURNAMES}])\p{{Han}}{{0,2}}?)"
            r"(?:先生|女士|小姐|医生|大夫|护士|教授|老师|律师|法官|经理|主任|院长|总监|工程师|同学|警官)",
            0.75,
            group=1,
        ),
    )
