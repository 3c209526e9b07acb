"""Bodies in Chinese script by the word that ends their name: companies, banks, hospitals, schools, offices.

The name is what stands before that word, up to a particle, a verb of the list below or a mark. It does NOT find bodies known by a short
name ("腾讯"): those are the model's.
"""

from __future__ import annotations

from gateway.pii.recognizers.base import Pattern, PatternRecognizer

_HAN = r"[^\P{Han}在于是的和与跟及从去到由向对给把被叫让为或等我你他她它们了着过]"
_LEAD = (
    r"(?:请?联系|入职|就职|任职|供职|来自|加入|收购|起诉|甲方|乙方|被告|原告|转账至|汇款至|单位|雇主|客户|前往|毕业|就读|住进|选择|咨询)?"
)
_COMPANY = r"(?:股份有限公司|有限责任公司|有限公司|集团公司|分公司|子公司|事务所|合伙企业)"
_BODY = (
    r"(?:公司|集团|银行|支行|分行|信用社|医院|卫生院|诊所|大学|学院|中学|小学|学校|幼儿园|研究院|研究所|委员会|"
    r"基金会|协会|法院|检察院|派出所|公安局|出版社|报社)"
)
_GENERAL = ("这", "那", "某", "该", "哪", "本", "一家", "一所", "几家", "每", "各", "任何", "什么", "贵", "附近", "所有", "其他", "开户")


class ChineseOrganizationRecognizer(PatternRecognizer):
    entity = "ORGANIZATION"
    patterns = (
        Pattern(
            rf"(?:公司|企业|单位|商户|机构)(?:名称|全称)?[：:] ?([\p{{Han}}A-Za-z0-9（）()·]{{2,30}}?(?:{_COMPANY}|{_BODY}))", 0.85, group=1
        ),
        Pattern(
            rf"{_LEAD}([A-Za-z0-9]{{0,10}}{_HAN}{{2,18}}?(?:（\p{{Han}}{{2,6}}）|\(\p{{Han}}{{2,6}}\))?{_HAN}{{0,12}}?{_COMPANY})",
            0.8,
            group=1,
        ),
        Pattern(rf"{_LEAD}({_HAN}{{2,12}}?{_BODY})", 0.55, group=1),
    )

    def validate(self, value: str) -> bool:
        return not value.startswith(_GENERAL)
