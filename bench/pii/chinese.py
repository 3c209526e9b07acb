"""Chinese sentences from templates of this project's own, with values that pass the checks of their standards.

`TUNING` served while the recognizers were written; `REPORTED` was written apart from it and only reported on.
"""

from __future__ import annotations

import datetime
import random
import re

from faker import Faker

from bench.pii.scoring import Spans

_SLOT = re.compile(r"\{([a-z_]+)\}")
LABELS = {
    "name": "PERSON", "address": "STREET_ADDRESS", "mobile": "CN_MOBILE", "id": "CN_RESIDENT_ID", "card": "CN_BANK_CARD", "passport": "CN_PASSPORT",
    "uscc": "CN_USCC", "plate": "CN_LICENSE_PLATE", "email": "EMAIL_ADDRESS", "org": "ORGANIZATION", "city": "GPE", "date": "DATE_TIME", "age": "AGE",
    "landline": "PHONE_NUMBER", "mrn": "MEDICAL_RECORD",
}  # fmt: skip

TUNING = """我叫{name}，今年{age}岁，住在{address}。
{name}的手机号是{mobile}，身份证号{id}。
请把包裹寄到{address}，收件人{name}，电话{mobile}。
银行卡号{card}，持卡人{name}，开户行在{city}。
公司名称：{org}，统一社会信用代码：{uscc}。
车牌号{plate}，车主{name}。
护照号码：{passport}，出生日期：{date}。
联系邮箱{email}，联系人{name}。
{name}于{date}在{city}出生。
患者{name}，{age}岁，病历号{mrn}，就诊日期{date}。
{name}在{org}工作，座机{landline}。
王老师说{name}明天去{city}。""".splitlines()

REPORTED = """你好，我是{name}，想查询一下我的订单，手机{mobile}。
帮我写一封信给{name}，地址是{address}。
客户{name}（身份证：{id}）于{date}申请贷款。
我的工资卡{card}被冻结了，怎么办？
姓名：{name}，性别：男，年龄：{age}，电话：{mobile}，住址：{address}
昨天{name}和{name}一起去了{city}。
{org}的法定代表人是{name}，信用代码为{uscc}。
请联系{name}，微信同手机号{mobile}，或发邮件至{email}。
那辆{plate}的车停在我家门口。
我的护照{passport}快过期了，需要去{city}办理。
原告{name}，{date}出生，住{address}。被告{org}。
{name}今年{age}岁了，在{city}读书。
医生，我妈妈{name}的住院号是{mrn}。
合同编号A-102，甲方：{org}，乙方：{name}，签订日期：{date}。
name,phone,id\\n{name},{mobile},{id}
{{"姓名": "{name}", "身份证号": "{id}", "手机": "{mobile}"}}
转账给{name}，卡号{card}，金额五百元。
我在{org}上班，公司电话{landline}。
我从{city}坐高铁到{city}，{date}出发。
Hi, my name is {name}, phone {mobile}, I live in {city}.
他的身份证号码是{id}，请核实。
{name}女士您好，您的快递已送达{address}。
今天的天气怎么样？
请帮我总结这篇文章的主要内容。
机器学习和深度学习有什么区别？
如何用Python读取文件？""".splitlines()


class ChineseValues:
    """Seeded values. Numbers satisfy their check digits."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._faker = Faker("zh_CN")
        self._faker.seed_instance(seed)

    def name(self) -> str:
        return self._faker.name()

    def address(self) -> str:
        pick = self._random.choice
        base = (
            f"{self._faker.province()}{self._faker.city()}{self._faker.district()}区"
            if self._random.random() < 0.3
            else pick(
                [
                    "北京市朝阳区",
                    "上海市浦东新区",
                    "广州市天河区",
                    "深圳市南山区",
                    "杭州市西湖区",
                    "四川省成都市武侯区",
                    "江苏省南京市鼓楼区",
                    "湖北省武汉市洪山区",
                ]
            )
        )
        road = pick(["建国", "人民", "中山", "解放", "科技", "文一西", "天府", "延安", "和平", "新华", "长江", "学院"]) + pick(
            ["路", "街", "大道"]
        )
        return f"{base}{road}{self._random.randint(1, 900)}号" + pick(
            [
                "",
                f"{self._random.randint(1, 30)}号楼{self._random.randint(101, 2505)}室",
                f"{self._random.randint(1, 30)}栋{self._random.randint(1, 4)}单元{self._random.randint(101, 2505)}",
                f"院{self._random.randint(1, 9)}号楼",
            ]
        )

    def mobile(self) -> str:
        return self._faker.phone_number()

    def id(self) -> str:
        born = datetime.date(1950, 1, 1) + datetime.timedelta(days=self._random.randrange(20000))
        body = (
            self._random.choice(["110105", "310115", "440106", "510107", "330106"])
            + born.strftime("%Y%m%d")
            + f"{self._random.randrange(1, 1000):03}"
        )
        weights = [pow(2, 17 - index, 11) for index in range(17)]
        total = sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))
        return body + "10X98765432"[total % 11]

    def card(self) -> str:
        body = self._random.choice(["622202", "621700", "622848", "621661"]) + "".join(str(self._random.randrange(10)) for _ in range(12))
        for check in "0123456789":
            digits = [int(character) for character in body + check]
            odd = digits[-1::-2]
            even = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
            if (sum(odd) + sum(even)) % 10 == 0:
                return body + check
        raise AssertionError("one of ten digits satisfies Luhn")

    def passport(self) -> str:
        return (
            "E" + self._random.choice("ABCDEFGHJK") + f"{self._random.randrange(10**7):07}"
            if self._random.random() < 0.5
            else self._random.choice("EG") + f"{self._random.randrange(10**8):08}"
        )

    def uscc(self) -> str:
        alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
        body = "91" + f"{self._random.randrange(110000, 659000)}" + "MA" + "".join(self._random.choice(alphabet) for _ in range(7))
        total = sum(alphabet.index(character) * pow(3, index, 31) for index, character in enumerate(body))
        return body + alphabet[-total % 31]

    def plate(self) -> str:
        return (
            self._random.choice("京沪粤苏浙川鄂")
            + self._random.choice("ABCDEF")
            + self._random.choice(["", "·"])
            + "".join(self._random.choice("ABCDEFGHJK0123456789") for _ in range(4))
            + str(self._random.randrange(10))
        )

    def email(self) -> str:
        return self._faker.email()

    def org(self) -> str:
        return self._faker.company()

    def city(self) -> str:
        return self._random.choice(["北京", "上海", "广州", "深圳", "杭州", "成都", "南京", "武汉", "西安", "重庆", "苏州", "天津", "长沙", "青岛", "厦门"])

    def date(self) -> str:
        year, month, day = self._random.randint(1955, 2025), self._random.randint(1, 12), self._random.randint(1, 28)
        return self._random.choice([f"{year}年{month}月{day}日", f"{year}-{month:02}-{day:02}", f"{month}月{day}日", f"{year}年{month}月"])

    def age(self) -> str:
        return str(self._random.randint(3, 98))

    def landline(self) -> str:
        return f"0{self._random.choice(['10', '21', '755', '571', '28'])}-{self._random.randrange(20000000, 89999999)}"

    def mrn(self) -> str:
        return self._random.choice(["", "ZY", "B"]) + str(self._random.randrange(10**6, 10**8))


def sentences(count: int, seed: int, templates: list[str]) -> list[tuple[str, Spans]]:
    values, chooser, made = ChineseValues(seed), random.Random(seed), []
    for _ in range(count):
        template = chooser.choice(templates).replace("\\n", "\n").replace("{{", "\x01").replace("}}", "\x02")
        text, spans, position = "", [], 0
        for match in _SLOT.finditer(template):
            text += template[position : match.start()]
            value = getattr(values, match.group(1))()
            spans.append((len(text), len(text) + len(value), LABELS[match.group(1)]))
            text += value
            position = match.end()
        text += template[position:]
        made.append((text.replace("\x01", "{").replace("\x02", "}"), spans))
    return made
