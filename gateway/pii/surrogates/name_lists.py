"""Names for surrogates: uncommon as words of a text, plausible as names, and short for a model.

Written for this project. No name here is a common English word, so that a name part in an answer ("Dear Adrian") can be told
from prose. A longer list is not needed: when a conversation has used a list up, names are joined by hyphens.
"""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """The words of a list that is written as text."""
    return tuple(text.split())


GIVEN_LATIN = words(
    """Adrian Agnes Albert Alice Alina Amanda Amelia Anders Andrea Anthony Anton Arlene Audrey Barbara Barnaby Beatrix Benedict Bernard
    Brenda Camille Carla Caroline Caspar Catherine Cecily Celeste Christina Christine Clara Colin Conrad Cordelia Cornelius Cynthia
    Cyrus Dagmar Damian Deborah Dennis Derek Desmond Diana Dominic Dorothy Edgar Edith Edmund Eleanor Elena Elias Elise Ellen Emeric
    Emilia Erik Erika Ernestine Esther Ethan Eugenia Evander Fabian Felicia Felix Fiona Florian Frances Frederica Freya Gabriel
    Gareth Gemma Gerald Gregory Greta Gustav Gwen Hannah Harold Hector Hedwig Helen Helena Henrietta Horatio Howard Hugo Ian
    Ignatius Imogen Ingrid Irene Isabel Isabella Ivana Janet Jeremy Joanna Joel Jonas Jonathan Joyce Judith Julian Juliana Karen
    Katherine Katrin Keith Kenneth Kurt Lauren Lavinia Leander Leonard Leonie Leopold Linnea Lionel Lorenz Louise Lucas
    Lucian Lucinda Magnus Malcolm Marcel Margaret Margot Marisol Martha Matilda Maxine Michelle Mildred Mirabel Monica Nadia
    Nathan Nathaniel Neil Nicholas Nicole Nina Noemi Nora Octavia Oliver Olivia Orlando Oscar Oswald Paloma Pamela Patricia Patrick
    Percival Petra Philip Philippa Quentin Rachel Ralph Ramona Raphael Raymond Rebecca Regina Renata Roland Ronald Rowena Sabine
    Samantha Samuel Sandra Sebastian Selma Sharon Sigrid Silvia Simone Stefan Stephen Stuart Susan Sylvester Sylvia Tamara Teresa
    Theodora Theodore Theresa Timothy Tobias Ulrich Ursula Valentin Vanessa Vera Victor Viktor Vincent Vivian Waldemar Walter Wendy
    Wilfred Xavier Xenia Yolanda Yvonne Zachary Zelda"""
)

SURNAMES_LATIN = words(
    """Abbott Abernathy Armstrong Ashworth Barnett Barrett Bellamy Bennett Bergstrom Blackwood Bradley Bramwell Brandt Brockhurst
    Bryant Burke Caldwell Campbell Carrington Carroll Chadwick Clarke Colborne Coleman Collins Corwin Cranston Crawford Crawley
    Cunningham Dalgaard Davidson Dawson Dixon Drummond Duncan Dunmore Elliott Ellsworth Engstrom Erickson Fairbanks Falkner Fenwick
    Ferguson Fitzroy Fletcher Garrick Gibson Gilbert Goddard Hansen Harrison Hawkins Hawthorne Henderson Hendricks
    Hoffman Hollister Holloway Hughes Huxley Ingram Irwin Isaacs Ivanek Jarrett Jenkins Jensen Johnston Kavanagh Kellerman Kirkland
    Klein Lambert Langford Larsen Lockhart Lundgren Marchbanks Marchetti Marshall McCarthy McDonald Mitchell Montague
    Montgomery Morrison Mortensen Murphy Myers Netherby Nichols Nordstrom Norris Norwood Oakhurst Olson Osborne Owens Patterson
    Perkins Peterson Phillips Prescott Quimby Quinn Radcliffe Redfield Reynolds Richardson Robertson Rosenthal Russell Rutherford
    Sandoval Schmidt Schneider Schumann Sheridan Simpson Sinclair Snyder Stevens Sullivan Talbot Tennyson Thompson Tillman
    Underhill Underwood Upton Vandermeer Varga Vaughan Villanueva Wagner Wakefield Wallace Walsh Warren Watson Weatherby Weber
    Westbrook Whitaker Whitney Wilkins Willis Winslow Winthrop Woodhouse Yarborough Yates Zeller Zimmerman"""
)

GIVEN_CYRILLIC = words(
    """Аверьян Агния Борислав Вениамин Виталина Всеволод Галактион Демьян Евдокия Ефим Захар Зинаида Ираида Игнат Климент Капитолина
    Лаврентий Леонтий Марьяна Милица Назар Нонна Остап Прасковья Прохор Радомир Савелий Серафима Степанида Тарас Тихон Устинья
    Федот Фаина Харитон Элина Эмилия Юлиан Яромир"""
)

SURNAMES_CYRILLIC = words(
    """Абрикосенко Берестюк Вересенко Гончаренко Дорошенко Ермоленко Жуковенко Зарубенко Ищенко Калинюк Левченко Маковенко Назаренко
    Онищенко Пархоменко Радченко Савченко Тимощенко Ульянченко Федоренко Харченко Цветенко Черненко Шевчук Щербенко Юрченко
    Яременко Бондарчук Гаврилюк Данилюк Захарчук Кравчук Мельничук Олейничук Полищук Ткачук"""
)

# Surnames of one character that are rare as words; the two-character ones are the classical compound surnames.
SURNAMES_HAN = tuple("邵郝龚覃邱顾侯邹熊孟秦阎薛闫雷侍郗郜栾鄢鲍亓佟仝戴阮蓝闵麻卞苗臧计裘缪贝娄邬滕殷郁冼蔺屠蒙池桑郦")
SURNAMES_HAN_COMPOUND = words(
    """欧阳 上官 司徒 诸葛 慕容 皇甫 尉迟 宇文 长孙 令狐 端木 东方 夏侯 公孙 轩辕
    司马"""
)
GIVEN_HAN = tuple("岚琪彤翊珂昱璐婧骁轩晗琳瑶翎皓玥钰霖楠妍瀚雯晟菲璟睿萱祺烨瑾煜蓉鹤韵澜沁霏熠涵钧麒芷婉沛湘曦彦恺嵘茜")

PLACES_LATIN = words(
    """Aldermoor Ashcombe Barrowdale Brackenford Brindleton Caldermere Carrowmore Cobblestead Dunharrow Eastmarch Elmsworth Fallowmere
    Farrowby Fernhollow Foxbridge Gladestone Glenmarch Greywater Harrowgate Hazelbrook Highmoor Holmstead Ivybridge Kestrelton
    Kingsmere Larkhaven Lindenfall Longmere Maplecross Marlowick Millbrae Mistleton Northmere Oakenshaw Otterbourne Pinecrest
    Quarryford Ravenmoor Redbrook Rookhaven Rosemere Rowanbury Saltmarsh Silverdale Stonehaven Sunderby Thistledown Thornwick
    Timberlake Underfell Valemont Westerleigh Whitmoor Willowmere Windermoor Wolfsdale Wrenfield Yarrowby"""
)

PLACES_HAN = words(
    """云溪 青屏 枫桥 鹿鸣 临湖 白石 松岭 柳河 望江 南屿 碧湾 银杏 梅岗 竹溪 紫荆
    雁栖 槐安 星湖 丹霞 海棠"""
)

STREETS_LATIN = words(
    """Alderwick Ashgrove Birchley Brambleside Briarfield Chestermoor Cloverly Coppice Cranmere Dovecote Elmridge Fernleigh Foxglove
    Gorseway Hartsmere Hawkstone Heatherly Hollybush Juniper Kingfisher Larchmont Lavender Limewood Linnetside Maplewood Marigold
    Meadowlark Millrace Oakhollow Orchardside Partridge Pheasantry Pinehurst Poplarside Primrose Rowanside Sandpiper Sedgemoor
    Skylark Sorrelbank Swallowtail Sycamoreside Teasel Thornhill Turnstone Wagtail Weavermoor Willowbank Woodlark Yewdale"""
)

COMPANIES_LATIN = words(
    """Northwick Bluecrest Halloran Silverpine Redmarch Oakline Stonebridge Fairwind Harborlight Greyfell Brightmere Copperfield
    Eastvale Ironbark Kestrel Larkspur Meridian Nightingale Orchardine Palisade Quillmark Ravenna Saltire Tallgrass Umberland
    Vantor Westmark Yellowfin Zephyrine Amberline Castlemark Driftwood Evermark Foxhaven Glasswing Highmark Juniperine Lanternby
    Mapleline Novandale Pinnaclar Rosewick Summerlin Thistlemark Waterlin"""
)

COMPANIES_HAN = words(
    """云岭 星澜 海纳 华屏 鼎禾 瑞溪 恒岳 明川 远帆 蓝桥 锦程 天枢 启明 博雅 凌云
    丰泽 盛禾 和光 朗润 清源"""
)

TITLES = frozenset(
    words(
        """mr mrs ms miss mx dr prof professor doctor sir madam madame lady lord rev reverend judge nurse captain capt sgt lt col gen
    officer señor señora sr sra herr frau monsieur mme mlle fr sister brother the honorable hon sen rep gov president
    jr ii iii iv phd md dds esq rn cpa"""
    )
)
PARTICLES = frozenset(words("van von de der den del della di da do dos das la le du des bin ibn al el ben ter zu y e af av"))
TITLES_HAN = (
    "先生", "女士", "小姐", "太太", "医生", "大夫", "老师", "教授", "主任", "律师", "经理", "总监", "同学", "护士", "院长", "博士", "师傅",
    "总", "局长", "阿姨", "叔叔",
)  # fmt: skip
COMPOUND_SURNAMES_HAN = frozenset(SURNAMES_HAN_COMPOUND) | {"南宫", "西门", "独孤", "澹台", "闻人", "赫连", "钟离", "鲜于"}
