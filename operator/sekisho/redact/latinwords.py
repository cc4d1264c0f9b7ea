"""Words beside names in Latin letters."""

# ruff: noqa: E501, SIM905 - lists of words read best as text

import re
from typing import Final

TITLES: Final = frozenset(
    """mr mrs ms miss mx dr prof professor sir madam dame lord lady captain capt colonel sgt officer judge rev father sister brother president
    senator mme herr frau señor señora sra producer director actor actress singer author writer minister chancellor governor mayor doctor nurse
    coach""".split()
)
PARTICLES: Final = "|".join(
    """de da do dos das del della di du la le van von der den ter ten zu zum bin ibn al el y e""".split()
)
# Before a name.
CUE: Final = re.compile(
    r"(?:\b(?i:my name is|name is|this is|i am|i'm|named|called|call me|known as|dear|hi|hello|hey|attn:?|signed:?|regards,?"
    r"|sincerely,?|thanks,?|cheers,?|directed by:?|written by:?|founded by|composed by|sung by|played by|from:|to:|cc:|contact:?"
    r"|ask for|(?:speak|talk) (?:to|with)|assistant to|married(?: to)?|my (?:wife|husband|son|daughter|kid|brother|sister|friend"
    r"|boss|colleague|mother|father)|(?:first|last|middle|maiden|full|family|given|account|card) name:?|names?:"
    r"|customer:?|patient:?|employee:?|user:|producer|starring|under the name(?: of)?)|\b(?i:mr|mrs|ms|dr|prof)\.?|[”\"’'] (?:says|said|added|replied|explained|asked|wrote|told))\s{1,12}$"
)
# A name in lower case behind what announces it.
LOWER: Final = re.compile(
    r"\b(?i:name is|name's|call me|i am called)\s{1,4}([a-zà-öø-ɏ][a-zà-öø-ɏ'’-]+(?: [a-zà-öø-ɏ]\.?)?(?: [a-zà-öø-ɏ][a-zà-öø-ɏ'’-]+)?)(?=[.,;!?)\n]|$)"
)
# One of these stands in whatever announces one.
IN_LOWER: Final = ("ame is", "ame's", "all me", "am called")
# Between names of two people.
AND_NEXT: Final = re.compile(r" and ([A-ZÀ-ÖØ-ÞĀ-ɏ]\w+)(?=[^\w'’-])")
AND_BEFORE: Final = re.compile(r"([A-ZÀ-ÖØ-ÞĀ-ɏ]\w+) and $")
# Letters that English has not.
ACCENTED: Final = re.compile("[À-ÖØ-öø-ɏ]")
# Before the name on a card.
HOLDER: Final = re.compile(r"(?:名義人?|氏名|署名|(?i:\b(?:card ?holder|holder|name)))[^\w\n]{1,3}$")
# Behind a name: what people do and have.
OF_PEOPLE: Final = re.compile(
    r"(?: (?:novel|biography|memoirs?)\b|['’]s (?:wife|husband|son|daughter|kid|kids|mother|father|brother|sister|friend|boss|address|phone|email|name|birthday"
    r"|house|novel|account|passport|salary)\b|:\s?[\"“]| (?:lives?|lived|said|says|told|asked|wrote|writes|works|worked|joined"
    r"|explained|married|thinks?|wants?|likes|graduated|studied|spent|began|founded|claims?|replied|added|resigned|retired"
    r"|was born|died|had given|has been (?:a|diagnosed)|will be (?:talking|speaking)|is (?:a|an|our|my|the) (?:\w+ )?(?:doctor|nurse|teacher"
    r"|engineer|lawyer|manager|director|employee|customer|patient|student|actor|singer|author|writer))\b)"
)
# A word that makes a firm, a street, a place or a thing of names.
HEADS: Final = frozenset(
    """inc ltd llc corp corporation company co gmbh ag plc group holdings partners bank university college school hospital institute insurance
    church museum hotel street st avenue ave road rd lane ln drive boulevard blvd court terrace way square place park city county island islands
    lake river mountain bay beach valley airport station bridge foundation dam association award prize act law theorem disease syndrome studios
    records press news times post magazine festival cup league club fc united season office orchestra band quartet choir ensemble tv radio
    route trail trails loop parkway highway crescent alley cove coves""".split()
)
# A surname behind an article is a family's, a firm's or a thing's.
ARTICLES: Final = frozenset("the a an".split())
PRONOUNS: Final = frozenset("i he she it we you they who this that these those what there".split())
# Japanese in Hepburn's spelling, of four letters or more; two such words that nobody knows are a name. English has
# many words of this form that end in e.
ROMANISED: Final = re.compile(
    r"(?=\w{4})(?!\w*e$)(?:(?:[knhmr]y|[gbp]y|sh|ch|ts|[kstnhmyrwgzdbpjf])?[aiueoāīūēō]{1,2}|n(?![aiueoy])|m(?=[bp])|k(?=k)|s(?=s)|t(?=[tc])|p(?=p))+"
)
FIRST_OF_PLACES: Final = frozenset(
    """rua avenida av calle via paseo plaza rue uss usns fort mount mt lake san santa saint st los las new port porto cape isle north south east
    west""".split()
)
HOUSE_BEFORE: Final = re.compile(r"\d[,/]? $|\b(?:apt|suite|box|no)\.? $", re.IGNORECASE)
HOUSE_AFTER: Final = re.compile(r",? \d{1,5}\b(?!\s?(?:years|%|and))| (?:u|ul|utca|útja|út|straat|strasse|gatan|tie)\b")
