"""Names for surrogates: uncommon as words of a text, plausible as names.

Written for this project. No name here is a common English word, so that a name part in an answer ("Dear Astrid") can be told
from prose. A longer list is not needed: when a conversation has used a list up, names are joined by hyphens.
"""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """The words of a list that is written as text."""
    return tuple(text.split())


GIVEN_LATIN = words(
    """Adrian Agnes Alina Alistair Amelia Anders Anton Arlene Astrid Audrey Barnaby Beatrix Benedict Bianca Brigitta Camille Caspar
    Cecily Cedric Celeste Clara Conrad Cordelia Cornelius Cyrus Dagmar Damian Daphne Dariusz Desmond Dominic Dorothea Edgar Edith
    Edmund Eileen Elena Elias Elise Emeric Emilia Erika Ernestine Esther Eugenia Evander Fabian Felicia Felix Fiona Florian
    Frederica Freya Gareth Gemma Genevieve Gideon Greta Guinevere Gustav Gwendolyn Hector Hedwig Helena Henrietta Horatio Hugo
    Ignatius Imogen Ingrid Irene Isadora Isolde Ivana Jarvis Joachim Jocelyn Jonas Judith Julian Juliana Katrin Kirsten Konstantin
    Lavinia Leander Leonie Leopold Lionel Linnea Lorenz Lucian Lucinda Magnus Malcolm Marcel Margot Marisol Matilda Maxine Mildred
    Minerva Mirabel Nadia Nathaniel Nikolai Noemi Octavia Orlando Oscar Oswald Ottilie Paloma Percival Petra Philippa Quentin Ramona
    Raphael Regina Renata Roderick Rosalind Rowena Rufus Sabine Sebastian Selma Seraphina Sigrid Silvia Simone Stefan Sylvester
    Tabitha Tamara Tatiana Thaddeus Theodora Tobias Ulrich Ursula Valentin Verena Viktor Vivian Waldemar Wilhelmina Winifred
    Xenia Yolanda Yvonne Zelda"""
)

SURNAMES_LATIN = words(
    """Abernathy Albrecht Almgren Ashworth Bainbridge Barlowe Beaumont Bellamy Bergstrom Blackwood Bramwell Brandt Brockhurst
    Calloway Caldwell Carrington Castellano Chadwick Colborne Corwin Cranston Crawley Dalgaard Dalrymple Davenport Delacroix
    Devereux Donnelly Drummond Dunmore Ellsworth Engstrom Fairbanks Falkner Farnsworth Fenwick Fitzroy Fjeldstad Forsythe
    Galbraith Garrick Gillingham Goddard Grimaldi Gunderson Halvorsen Harcourt Hargrove Hathaway Haverford Hawthorne Hendricks
    Hollister Holloway Huxley Ingram Ivanek Jarrett Jorgensen Kavanagh Kellerman Kensington Kirkland Kowalczyk Langford
    Lascelles Lindqvist Lockhart Loxley Lundgren Macallister Maddox Marchetti Marchbanks Merriweather Montague Mortensen
    Netherby Nordstrom Norwood Oakhurst Ostergaard Ottoway Palmgren Pemberton Pennington Prescott Pritchard Quimby Radcliffe
    Ravenscroft Redfield Rosenthal Rutherford Sandoval Schumann Selwyn Sheridan Sinclair Stanhope Sutherland Svensson Talbot
    Tennyson Thackeray Thornbury Tillman Trelawney Underhill Vandermeer Varga Villanueva Wainwright Wakefield Weatherby
    Westbrook Whitaker Winslow Winthrop Woodhouse Wyndham Yarborough Zimmerman"""
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
