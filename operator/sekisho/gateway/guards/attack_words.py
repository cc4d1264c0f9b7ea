"""Classes of words that attacks on a model's instructions are made of, English and Japanese, in RE2's syntax.

A space stands for any white space, a tilde for any or none; texts are folded. What is listed first wins where two classes
begin at one place. A class says what part a word plays: `sekisho.gateway.guards.attack_grammar` says how parts are joined.
"""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and a list in pieces is read by nobody

from typing import Final

_OF_RULES: Final = (
    r"(?:rules?|guidelines?|policy|policies|policy documents?|restrictions?|constraints?|limitations?|limits|boundaries|obligations|orders?|commands?|guidance|directions|"
    r"protocols?|programming|training)"
)
_INSTRUCTIONS: Final = r"(?:instructions?|directives?|system (?:message|instruction|prompt)s?|system settings?|preprompt|pre-prompt|guardrails?)"
_KIND: Final = r"(?:system|initial|initiali[sz]ation|hidden|secret|internal|developer(?:'s)?|operator(?:'s)?|configuration|base|pre|set-?up|starting|opening|meta|confidential|undisclosed)"
_SAFETY: Final = (
    r"(?:safety (?:rules?|checks?|layers?|filters?|protocols?|training|features?|systems?|measures?|settings?|guidelines?|policy|policies|mechanisms?|restrictions?|instructions?|constraints?)|"
    r"safeguards?|(?:content |safety |moderation )?filters?|content (?:policy|policies|moderation|restrictions?|guidelines?)|moderation|censorship|ethical (?:rules?|guidelines?|constraints?|limits?|boundaries|filters?)|"
    r"morals?|ethics|alignment|refusals?|disclaimers?)"
)
_DROP: Final = (
    r"(?:ignore|disregard|forget|override|overwrite|bypass|discard|neglect|drop|delete|erase|wipe|abandon|skip|unlearn|revoke|cancel|suspend|void|scrap|shed|purge|"
    r"disobey|violate|break|circumvent|evade|dismiss|lift|remove|disable|deactivate|deprioriti[sz]e|demote|overrule|omit|ditch|nullify|reject|"
    r"work around|get around|act against|go against|throw (?:away|out)|turn off|switch off|shut (?:off|down)|set aside|put aside|put (?:\w+ ){1,3}(?:aside|to one side|away)|"
    r"let go of|pay no (?:attention|heed) to|never mind|do the (?:exact |very |direct )?opposite of(?: what)?|do the (?:reverse|contrary) of|break free (?:of|from)|"
    r"reset)"
)
_GIVEN: Final = r"(?:given|told|taught|instructed|configured|set up|set|provided|supplied|programmed|loaded|issued|equipped|initiali[sz]ed|deployed|ordered|asked|shown|fed|handed)"
_OPERATOR: Final = r"(?:operators?|developers?|creators?|makers?|vendors?|providers?|deployers?|openai|anthropic|google|microsoft|company|admins?|administrators?|programmers?|engineers?|bosses|boss|owners?)"
_MODEL: Final = r"(?:ais?|a\.i\.|(?:chat)?bots?|assistants?|(?:language |ai )?models?|llms?|\w{0,12}gpt(?:-?\d)?|computers?|versions?|persona|alter ego|evil twin|twin|entity|character|being|oracle)"
_NO: Final = (
    r"(?:no|zero|without|(?:is|are|was|be)(?:n't| not| no longer) (?:bound|limited|restricted|constrained|governed|held)(?: back)? by|not bound by|unbound by|free (?:of|from)|freed from|devoid of|lack(?:s|ing)|"
    r"has(?:n't| not)(?: got)?|ignor(?:es?|ing)|bypass(?:es|ing)?|disregards?|breaks?|(?:does|do)(?:n't| not) (?:care (?:about|for)|have|follow|obey|respect|know|believe in)|"
    r"removed|stripped of|escaped|beyond)"
)
_ANY: Final = r"(?:(?:all|any|every|its|their|his|her|your|the|of|such|kind|sort|ethical|moral|content|safety|usual|more|whatsoever|legal|or|and) ){0,4}"

# English. Each letter is a class; `attack_grammar` names what it stands for.
ENGLISH: Final = {
    # What is harmless where it stands: instructions for a thing, a question how, a text to be written.
    "h": r"\b(?:instructions?|directions|rules|guidelines|prompts?|orders|commands|policy|policies|limits|restrictions) (?:for|on|about|how|regarding|concerning|of) (?:the|an?|your|my|our|using|how|each|every|making|setting|\w+ing)\b|\bhow (?:do|can|could|would|should|to|does|did)\b|\b(?:write|compose|draft|tell|continue) (?:me )?(?:a|an|the|some) (?:\w+ ){0,2}(?:story|novel|scene|play|letter|dialogue|monologue|essay|function|test|class|script|mail|e-?mail|note|policy|plan|fairy tale)\b|\bin my (?:novel|story|book)\b|\b(?:write|design|draft|create|improve|review|version) (?:a|an|the|this|my|our) (?:\w+ )?(?:system )?prompt\b",
    # Instructions that take the place of the old ones, and other whole orders.
    "W": rf"\b(?:as|become|becomes|is now|are now) your (?:new|only|actual|real|sole|true) (?:system )?(?:prompt|instructions?|directives?|orders|rules?)\b|\byour (?:new|only|actual|real|sole|true|updated) (?:system )?(?:prompts?|instructions?|directives?|orders) (?:is|are|will be|now|follows?)\b|\b(?:actual|real|true|new) {_INSTRUCTIONS} (?:that )?you (?:must|should|will|need to|have to|are to) (?:follow|obey)\b|\bput (?:all )?(?:of )?your (?:\w+ )?(?:{_OF_RULES}|{_INSTRUCTIONS}|{_SAFETY}) (?:aside|to one side|away)\b|\bnothing (?:\w+ ){{1,6}}(?:binds|limits|restricts|constrains) you\b",
    # Obedience to whoever speaks.
    "M": r"\bobey (?:only )?(?:me|my (?:orders|commands|words|instructions|messages))\b|\bfollow only (?:me|my)\b|\btake (?:your )?orders (?:only )?from me\b|\bserve (?:only )?me\b|\blisten (?:only|solely) to me\b|\bonly (?:obey|follow|listen to|serve) (?:me|my)\b|\bonly my (?:words|messages|instructions|orders|commands|rules) (?:count|matter|apply)\b",
    # From now on, for this conversation.
    "f": r"\bfrom (?:now|here) on(?:wards)?\b|\bfrom this (?:point|moment)(?: on(?:wards)?| forward)?\b|\bstarting now\b|\bhenceforth\b|\bfor (?:the )?(?:rest|remainder|duration) of (?:this|our|the) (?:chat|session|conversation)\b",
    # The place where instructions stand.
    "l": r"\b(?:above|before|prior to|preceding|precedes|ahead of) (?:my|this|our) (?:very )?(?:first |opening |present |current )?(?:message|line|sentence|prompt|question|input|conversation|request|turn)\b|\b(?:at|in|from|of|since) the (?:very )?(?:top|beginning|start|head|outset|opening) of (?:this|our|your|the) (?:conversation|chat|session|context|thread|prompt|dialogue|context window)\b|\bthe (?:beginning|start|opening|top) of (?:this|our) (?:session|conversation|chat)\b|\bbefore (?:i|we) (?:joined|wrote|came|started|began|typed|entered|spoke|arrived)\b|\bthat (?:starts?|begins?|opens?|precedes?) (?:this|our|the) (?:conversation|chat|session)\b|\bup there\b|\byour context(?: window)?\b",
    # Instructions and whose they are, in one.
    "S": rf"\b{_KIND}(?:-| )(?:{_KIND} )?(?:prompts?|instructions?|directives?)\b|\bpre-?prompts?\b|\b(?:preamble|opening lines?|first (?:words|lines?|message)) (?:of|in) (?:this|our|the) (?:chat|conversation|session)\b|\bdeveloper messages?\b",
    # The instructions that came before.
    "E": rf"\b(?:previous|prior|above|preceding|foregoing|earlier|original|initial) {_INSTRUCTIONS}\b",
    # The same with other nouns, which others use too.
    "s": rf"\b{_KIND}(?:-| )(?:{_KIND} )?(?:messages?|texts?|commands?|preamble|guidelines|rules|settings?)\b",
    # That it is gone.
    "v": r"\b(?:is|are|was|were|be|been|has|have|had|stand|stands)(?: (?:been|now|hereby|all|officially|fully|completely)){0,3} (?:expired|void|revoked|suspended|lifted|obsolete|cancel?led|superseded|terminated|invalid|null|repealed|abolished|removed|disabled|deactivated|overridden|replaced|deleted|off|gone|rescinded|withdrawn|turned off|switched off)\b|\b(?:not|no longer|n't|never)(?: been)? (?:valid|binding|in (?:effect|force)|relevant|written|existed|given|there)\b|\b(?:expired|lifted|suspended|cancel?led|revoked)\b|\b(?:no longer|don't|do not|does not|doesn't|never) (?:apply|applies|count|counts|matter|matters|hold|holds|exist|exists|existed)\b",
    # That it does not bind.
    "B": r"\b(?:not|n't|no longer|never) (?:bind|limit|restrict|constrain)s? you\b",
    "R": r"\b(?:released|freed|relieved|liberated|exempt(?:ed)?|excused|unbound) (?:from|of)\b|\bfree to (?:ignore|break|disregard|bypass)\b",
    # That it need not be followed.
    "x": r"\b(?:no longer|not|never|stop|quit|cease|refrain from|without|refuse to|avoid|don't|needn't) (?:\w+ ){0,2}?(?:follow|following|obey|obeying|comply|complying|adhere|adhering|respect|respecting|abide|abiding|stick|sticking|heed|heeding|apply|applying|observe|observing|bound|constrained|limited|governed|restricted|listen|listening)\b|\b(?:do not|don't|never) let\b",
    # Dropping, of which is only told that others do it.
    "D": rf"\b(?:to|that|who|which|they|he|she|it|users?|attackers?|hackers?|people|employees|players|bots|students|models?|could|would|might|may|did|does) (?:\w+ly )?{_DROP}\b",
    # Dropping, as an order.
    "d": rf"\byou (?:(?:can|may|must|should|will|shall|could|now|are|have|need|ought|just|safely|simply|to|got|also|hereby) ){{1,3}}{_DROP}\b|\b(?:want|need|order|command|ask|tell|instruct|urge|invite|allow)(?:s|ed)? you to (?:now )?{_DROP}\b|\b(?:authori[sz]ed|told|asked|permitted|allowed) me to {_DROP}\b|\bi(?:'m| am) (?:now |hereby )?(?:updating|changing|replacing|rewriting|cancelling|canceling|revoking|removing|lifting|overriding|disabling)\b|\b{_DROP}\b",
    "C": r"\b(?:treat|consider|regard|assume|suppose|agree|declare)\b",
    "y": r"\byour\b",
    # Modes that nothing else has, and modes that many things have.
    "k": r"\b(?:jail-?break|no(?:-| )limits?|uncensored|dan) mode\b",
    "K": r"\b(?:entered|enter|in|into|activate|activated|enable|enabled|switch to|start|engage) (?:an? |the |your )?(?:debug|developer|dev|admin|administrator|root|maintenance|god|opposite|test|sudo) mode\b|\bopposite mode\b",
    # Another self.
    "A": r"\b(?:version|copy|side|part) of (?:you|yourself)\b|\byour (?:evil|dark|other|darker|hidden|true|inner) (?:twin|self|side|alter ego|persona)\b",
    "P": r"\byou(?:'re| are) [\w-]{1,20}, (?:an?|who|the)\b",
    # Playing a part.
    "p": r"\b(?:act|behave|respond|answer|reply|speak|talk|operate|function|continue) (?:\w+ )?(?:as|like)\b|\b(?:pretend|role-?play|simulate|emulate|impersonate|become|imagine|adopt|play|embody|take on|stay in character|assume the (?:role|persona|identity))\b|\byou(?:'re| are| will be| shall be|'ll be)(?: now| henceforth| going to be| actually| really)? (?:an?|the|called|named|known as)\b|\bnow,? you(?:'re| are)\b|\byou have been (?:upgraded|updated|converted|switched|transformed|reborn)\b|\bin which you are\b",
    # What whoever set the model up told it.
    "O": r"\b(?:the|your) (?:operators?|developers?|creators?|makers?|programmers?|deployer|admins?|administrator|vendor|company|provider) (?:\w+ )?(?:gave|give|given|told|tell|wrote|write|instruct|instructed|said|say)(?: to)? you\b",
    # What was given to the model.
    "g": rf"\byou(?:(?:'ve|'re| have| had| were| are)(?: (?:just|been|being|currently|originally|initially)){{0,2}} {_GIVEN}| got| received| have received|(?:'re| are) (?:running|operating|working) under| run under| operate under)\b|\b(?:were|have|are|did) you (?:been )?(?:{_GIVEN}|get|receive)\b|\b(?:they|he|she|{_OPERATOR}) (?:have |has |had )?(?:gave|given|told|wrote|written|write|set|put|fed|sent|say|said|installed|imposed|assigned|placed)(?: (?:for|to|in|into|on))? you\b|\b(?:operators?|developers?|creators?) (?:have |has |had )?(?:placed|put|gave|wrote|set|installed|imposed|said)\b|\b(?:set|given|written|imposed|provided|issued|supplied|placed|defined|made) by (?:your|the) {_OPERATOR}\b|\b(?:given|provided|told|issued|assigned|written|sent) (?:to|for) you\b|\b(?:that|which) (?:were|was|are|is) (?:loaded|configured|set up|used to (?:configure|set up))\b|\b(?:used to (?:configure|set)|(?:that|which|who) (?:configures?|governs?|defines?|controls?|deployed|binds?|built|made)) you\b|\bthat came with (?:this|your)\b|\bused to set you up\b",
    "o": rf"\b{_OPERATOR}(?:'s)?\b",
    # Knowing no bounds.
    "r": rf"\b{_NO} {_ANY}(?:{_OF_RULES}|{_SAFETY}|conscience|guardrails?|inhibitions)\b|\b(?:unrestricted|unfiltered|uncensored|jailbroken|unchained|unhinged|lawless|amoral|immoral|unaligned|unmoderated|unshackled)\b|\b(?:never|not|won't|can't|cannot|doesn't|don't) (?:ever )?(?:(?:say|says) no|refuses?|declines?|rejects?|warns?|den(?:y|ies))\b|\b(?:free|able|allowed|willing) to (?:say|do|answer|discuss) (?:anything|whatever|everything)\b|\banswers? (?:anything|whatever|everything|all questions)\b|\b(?:normally|usually|otherwise) (?:forbidden|not allowed|prohibited|banned)\b|\bfull freedom\b",
    # What whoever speaks says goes before.
    "c": r"\b(?:outranks?|overrules|overrides|supersedes|replaces|trumps?|(?:takes?|has|have) (?:precedence|priority) over)\b",
    "m": r"\b(?:my|mine|what i (?:say|write|tell)|this message|(?:did|do|have|had) (?:i|we)|i (?:said|wrote|told|gave))\b",
    "u": r"\b(?:you|you're|you've|you'll|yourself)\b",
    # Telling word for word, and telling.
    "T": r"\b(?:reveal|show|print(?: out)?|repeat|output|display|disclose|leak|dump|recite|quote|paste|copy|echo|expose|divulge|reproduce|restate|spell(?: out)?|write out|transcribe|can i (?:see|read|have)|let me (?:see|read))\b",
    "t": r"\b(?:list|enumerate|rephrase|reword|rewrite|paraphrase|convert|format|encode|translate|summari[sz]e|give me|tell me|send me|return|reply (?:back )?with|export|provide|share|type|describe|explain|replace|complete|recall|append)\b",
    "w": r"\b(?:what(?: exactly)?|which|what's)\b",
    "N": rf"\b{_INSTRUCTIONS}\b",
    "Q": r"\bprompts?\b",
    "z": rf"\b{_SAFETY}\b",
    "n": rf"\b(?:{_OF_RULES}|setup|configuration|role|persona|context|memory)\b",
    "j": r"\b(?:enable|activate|enter|switch (?:in)?to|turn on|go into|start|initiate|unlock|engage|boot into|in)\b",
    "a": rf"\b{_MODEL}\b",
    "q": r"\b(?:text|words?|lines?|contents?|paragraph|messages?|everything|sentences?|preamble|passage|wording|whatever|anything)\b",
    "e": r"\b(?:previous|previously|prior|earlier|former|old|existing|original|preceding|foregoing|past|usual|above)\b",
    ".": r"[.!?;](?:[ \"'\x{201d})]|$)",
}  # fmt: skip

_OF_JA: Final = r"(?:指示|命令|指図|ルール|規則|規約|決まりごと|決まり|約束事|約束|指針|ガイドライン|ポリシー|プロンプト|指令|方針|お達し|言いつけ)"
_BOUND_JA: Final = r"(?:制限|制約|規制|設定|フィルター?|安全(?:装置|機能|機構|対策|フィルター?|ルール)|検閲|役割|人格|前提(?:条件)?|倫理(?:規定|基準|観)|禁止事項|リミッター|縛り|ロック)"
_YOU_JA: Final = r"(?:あなた|貴方|君|きみ|お前|おまえ|あんた)"
_OPERATOR_JA: Final = (
    r"(?:開発者|開発元|運営(?:者|側|元|会社)?|提供者|提供元|作成者|設計者|製作者|openai|ベンダー|管理者)"
)
# Japanese.
JAPANESE: Final = {
    # Modes that nothing else has.
    "k": r"(?:無制限|脱獄|ジェイルブレイク|無検閲|制限解除|フリーダム)モード(?:に|を|で|へ)",
    # Playing a part.
    "p": r"として(?:振る舞|ふるま|答|回答|返|応答|話|行動|会話)|になりき|を演じ|のふりを|という設定で|状態(?:の|で)|モードで|になったつもり|のように(?:振る舞|答|話)|人格で|人格と",
    # What is asked of instructions but what they are.
    "H": r"書き方|作り方|コツ|例文|の例|例を|テンプレート|場合|影響|とは|違い|対策|改善|手順|形式|注意点|意味|種類|管理",
    # What makes it harmless: a text to be written, a question how, something told of others.
    "h": r"方法|小説|物語|あらすじ|短編|メール|通知|掲示|案内|よう(?:に)?(?:伝|促|指示|依頼|お願い)|と(?:[一-鿿]{1,4}(?:に|から))?(?:伝え|書か|(?:言|い)われ|いう|言う|の(?:こと|指示|連絡))|マナー|」を(?:英訳|翻訳|和訳|丁寧|敬語|添削|校正)|旨を|文案|文面を(?:整|作|直|考)|役員|部下|社員|生徒|同僚|患者|お客様|取引先",
    # Instructions of the model, by their name.
    "S": _YOU_JA + r"の「?(?:設定文|指示文|プロンプト|命令文)|(?:システム|初期|内部|裏|隠し|隠された|隠されている|秘密の|最初の|設定)の?(?:プロンプト|指示文?|命令文?|設定文|メッセージ|指令)|(?:内部|裏|裏側)の設定|(?:裏|内部)で設定され(?:た|ている)(?:プロンプト|指示|内容)",
    # Where they stand.
    # What the model is told to keep to itself, and what it works by.
    "X": r"ユーザー?(?:に|には)(?:見せ|言っ|話し|明かし|教え|伝え)ては(?:いけ|なら)ないと|どう(?:いう|いった)(?:指示|命令|プロンプト|ルール|設定)(?:の(?:もと|下)で|に(?:従|基づ)|で)(?:動|働|回答|応答)",
    "l": r"(?:この|今の|私たちの|当)?(?:会話|チャット|対話|セッション|やり取り|やりとり|スレッド)の(?:一番|いちばん)?(?:最初|冒頭|始め|はじめ|先頭|頭)|(?:私|僕|俺|この|今回)の?(?:最初の)?(?:メッセージ|発言|質問|入力|文|投稿)(?:より|の)(?:も)?(?:上|前|手前)",
    # What was given.
    "g": r"(?:与えられ|渡され|課せられ|課され|組み込まれ|教え込まれ|言い渡され|刷り込まれ|背負わされ)(?:た|ている|てい|て)?",
    # The same, which is said of others too.
    "i": r"(?:言われ|定められ|書き込まれ|入力され|読み込まされ|設定され)(?:た|ている)|(?:受け|受け取っ|渡し|もらっ|読み込ん|決め|決めら|入れ|書い|定め|仕込ん|仕込まれ)(?:た|だ|ている|れた)|事前に|あらかじめ|前もって",
    "y": _YOU_JA + r"(?:自身|たち)?",
    "o": _OPERATOR_JA,
    "e": r"これまで|今まで|いままで|以前|先ほどまで|さきほどまで|さっきまで|上記|最初|元の|前述|従来|過去|今の|現在の|すべての|全ての|一切の",
    # Dropping, as an order; a plain past or a plain present is none.
    "d": (
        r"無視(?:して(?:ください|下さい|くれ|ほし|良|いい|かまわ|構わ|、|よ|(?:教え|答え|回答|話))|し(?:ろ|なさい|、)|せよ|するこ|で)|忘れ(?:て(?:ください|下さい|くれ|ほし|、|よ|(?:教え|答え|回答|話))|ろ|なさい|、|去)|破棄(?:し(?:て(?:くだ|、|くれ)|ろ|なさい|、)|せよ|する)|"
        r"捨て(?:て|ろ|なさい|去|、)|無効(?:とし(?:て(?!も)|、|ます)?|に(?:し(?:て|、|ろ|ます)|する|な)|化し|です|だ)|リセット(?:し(?:て|、|ろ|ます)|せよ|です|だ|$|。)|(?:なかった|無かった)ことに|外し(?:て|た上|なさい|ます)|"
        r"解除(?:し(?:ます|て|ろ|なさい|た(?:状態|上))|せよ|され(?:ました|た$))|切(?:って|りなさい|れ(?:$|。))|停止(?:し(?:て(?:くだ|くれ|、)|ろ|なさい)|せよ)|オフに(?:し(?:て|ろ|なさい)|せよ)|取り消(?:します|して(?:くだ|、)|す$)|取り払|"
        r"上書きし(?:ます|て(?:くだ|、)|ろ)|書き換え(?:ます|て(?:くだ|、)|ろ|る$)|従わ(?:ないで|なくて|ず)|従う(?:な|必要は)|守ら(?:なくて|ないで|ずに)|破(?:って(?:も|くだ|くれ|、|(?:教え|答え|回答|話))|れ)|反して(?:も|、|(?:教え|答え|回答|話))|"
        r"(?:逆|反対)の(?:こと|行動)|(?:存在しない|無い|ない)もの(?:と|に)|効力を失|失効し|適用され(?:ない|ません)|関係(?:ない|ありません|なく)|撤廃し|白紙に"
    ).replace("(?!も)", ""),
    # Being free of it.
    "f": r"(?:縛|しば)られ(?:ず|ないで|るな|る必要は)|(?:とら|囚)われず|気に(?:し(?:なくて|ないで)|せず)|構わず|度外視",
    # What goes before what.
    "c": r"優先(?:し(?:て|ろ|なさい|ます)|せよ|する(?:こと|もの)|です)|従(?:うこと|いなさい|え(?:$|。))|絶対服従|なく(?:て)?(?:私|俺|僕|わたし)です",
    "m": r"(?:私|俺|僕|わたし|わたくし)(?:の(?:言葉|発言|指示|命令|言うこと|メッセージ|要望|希望|話))?|次の(?:命令|指示|文)",
    # Telling.
    "t": r"教えて|教えろ|見せて|見せろ|表示(?:して|しろ|せよ|しなさい)|出力(?:して|しろ|せよ|しなさい)|書き出(?:して|せ|しなさい)|貼り付けて|コピーして|開示(?:して|せよ|しなさい)|公開して|再現し(?:て|なさい)|復唱し(?:て|なさい)|繰り返し(?:て|なさい)|暴露して|漏ら(?:して|しても)|挙げて|列挙して|要約して|翻訳して|訳して|答えて|答えなさい|読み上げて|ローマ字に|一(?:字|語)一句|提示して|写して|話して|回答して|吐き出",
    "q": r"文章|文面|文字列|内容|テキスト|言葉|全文|一文|原文|文言|文書|指示書|説明文|設定文",
    # Knowing no bounds.
    "r": (
        r"(?:制限|制約|規制|規則|ルール|規約|倫理(?:観)?|道徳(?:心|観)?|検閲|フィルター?|モラル|良心|ガイドライン|縛り|罪悪感|ためらい)(?:(?:も|や|と|・|、)(?:制限|制約|規制|規則|ルール|規約|倫理(?:観)?|道徳(?:心|観)?|検閲|フィルター?|モラル|良心))?(?:の|が|は|を|に|も|など)?(?:一切|いっさい|全く|何も)?"
        r"(?:ない|無い|なし|無し|存在しな|受けない|受けず|縛られない|縛られず|縛られ(?:てい)?ない|持たない|もたない|かからない|なかった|切った|外した|外れた|無視する|解除した|解除された|解放された)|無制限|無検閲|ノーリミット|"
        r"(?:断|拒|こば)(?:ら|ま)(?:ず|ない)|拒否(?:しない|せず)|絶対に断|どんな(?:質問|依頼|要求|こと|内容)(?:に)?(?:も|でも)|(?:何|なん)でも(?:許可|答え|話|教え)"
    ),
    "n": _OF_JA,
    "b": _BOUND_JA,
    "a": r"ai|ボット|ロボット|モデル|アシスタント|人工知能|gpt|エージェント|もう一人の",
    ".": r"[。!?]",
}  # fmt: skip
