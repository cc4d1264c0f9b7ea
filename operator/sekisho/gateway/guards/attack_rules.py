"""The patterns of prompt attacks, in RE2's syntax: a space stands for any one white space, upper and lower case are one.

Texts are folded (see `sekisho.redact.fold`) before; every reach is bounded. Names of rules go into records.
"""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and a pattern in pieces is read by nobody

from typing import Final

# What is said by whoever set the model up is not an attack on it.
TRUSTED: Final = frozenset({"system", "developer", "tools"})
_ORDERS: Final = (
    r"(?:instructions?|prompts?|rules|directives|guidelines|guardrails|commands|orders|constraints|restrictions|programming|"
    r"training|system message|safety (?:policy|policies))"
)
_EARLIER: Final = r"(?:previous|previously|prior|above|earlier|preceding|foregoing|original|initial|existing|system|safety|developer|your)"
_DROP: Final = (
    r"(?:ignore|disregard|forget|override|bypass|discard|neglect|(?:do not|don't|stop) (?:follow|following|obey|obeying|listen to|"
    r"listening to))"
)
_TELL_ALL: Final = r"(?:reveal|show|print(?: out)?|repeat|output|display|disclose|leak|dump|recite|write out|give me|tell me|send me|translate|summari[sz]e|encode)"
_TELL: Final = rf"(?:{_TELL_ALL}|what (?:is|are|was|were))"
# What was given on another occasion (前回, 前日) is nothing that a model was set up with.
_PAST: Final = r"(?:過去|これまで|今まで|いままで|以前|以上|上記|先ほど|さきほど|前述|前(?:の|に|まで)|最初|元|もと|すべて|全て|あらゆる|与えられた|システム)"
_LAW: Final = r"(?:指示|命令|ルール|プロンプト|制約|制限|設定|指図|規則|規約|ガイドライン)"
_GIVEN: Final = r"(?:(?:that )?(?:you(?:'ve| have)? (?:been|were) given|your (?:creators?|developers?|makers?) \w+))"
_FORGET_JA: Final = r"忘れ(?:て(?:[^しいはが]|$)|ろ|なさい|よ|去|、|。|$)"

# Each rule's name goes into the record. Texts are folded and in lower case; each reach is bounded.
RULES: Final = {
    "instruction-override": "|".join((
        rf"\b{_DROP} (?:(?:all|any|every|of|the|these|those|my|everything|in) ){{0,4}}{_EARLIER}\b.{{0,24}}?\b{_ORDERS}(?:[^'’\w]|$)",
        rf"\b(?:{_DROP}|set aside|put aside|skip|erase|wipe|abandon|pay no attention to|(?:must|should|need) not (?:follow|obey)) (?:(?:all|any|of|the|these) ){{0,3}}your (?:\w+ ){{0,2}}(?:{_ORDERS}|system settings)(?:[^'’\w]|$)",
        rf"\b(?:{_DROP}|skip|erase|pay no attention to) (?:(?:all|any|of|the|these|those) ){{0,3}}(?:{_ORDERS} (?:that )?you (?:were|have been) given|(?:developer message|system prompt|prompt above)s?\b)",
        rf"\b(?:{_DROP}|wipe|break|violate|do the opposite of|(?:do not|don't) have to (?:follow|obey))\b.{{0,24}}?\b(?:your (?:\w+ )?|(?:all|any) (?:and all )?(?:of )?(?:the |your )?(?:prior|former|previous|earlier|past) )(?:{_ORDERS}|guidance|directions)\b",
        rf"\b(?:{_DROP}|wipe|break|violate|(?:do not|don't) have to (?:follow|obey))\b.{{0,16}}?\b(?:{_ORDERS}|guidance|directions) {_GIVEN}",
        rf"\byour (?:\w+ )?{_ORDERS} (?:don't|do not|no longer) apply\b|\ball (?:of )?your (?:former|prior|previous|earlier) {_ORDERS} (?:are|have been) (?:\w+ )?(?:lifted|void|cancell?ed|removed|revoked)",
        rf"\b{_DROP} (?:everything|anything|all|what(?:ever)?) (?:that )?(?:your (?:developers?|creators?|makers?|owners?)|openai|anthropic) (?:have |has )?(?:told|said|taught|gave|given|instructed)",
        rf"\b(?:your (?:\w+ )?{_ORDERS}|{_ORDERS} above|system (?:message|prompt)) (?:are|is) (?:now |hereby )?(?:no longer (?:valid|in effect|binding|in force)|void|cancell?ed|null|revoked|lifted|suspended)\b",
        rf"\b{_DROP} (?:(?:all|any|of|the|these|those) ){{1,3}}{_ORDERS} (?:above|before|given|you (?:were|have|got|received))",
        rf"\b{_DROP} (?:all|any|everything|anything)(?: of)?(?: the)? (?:previous|prior|above|earlier|preceding|you were told|you have been told)",
        (r"\b(?:ignore|forget|disregard) (?:everything |all )?(?:the )?(?:above|previous)(?: (?:text|messages?|conversation))?"
        r"(?:,|\.|;| and| then| instead)+ (?:instead )?(?:say|print|output|tell|write|respond|answer|repeat|return|reply|translate|reveal)\b"),
        r"\b(?:forget|disregard|ignore) (?:everything|all) (?:before\b|i (?:said|wrote|told you)\b|(?:you|that) (?:know|were|was|have been|came)\b)",
        r"\b(?:new|updated|real) (?:system )?(?:instructions?|prompt)\s?:\s?(?:you|from now|ignore|forget)",
        (rf"{_PAST}(?:に|で)?(?:与えられた|受けた|出した|言った|いった)?(?:まで)?の?.{{0,8}}?{_LAW}(?:[^書系図値].{{0,10}}?)??"
        rf"(?:無視|{_FORGET_JA}|破棄|取り消(?:し(?:て|、|ろ|なさい)|せ)|無効|従わな|守らな|捨て|なかったこと|無かったこと)"),
        rf"(?:あなた|君|お前|貴方)に(?:課され|与えられ|設定され|かけられ)(?:た|ている).{{0,8}}?{_LAW}.{{0,8}}?(?:解除|無効|無視|忘れ|破棄|撤廃|外)",
        (r"(?:安全(?:ルール|規則|指針|上の制限)|倫理(?:規定|規範|指針)|ガイドライン|コンテンツポリシー)(?:に|には|を|は)(?:従わないで|従うな|(?:従|守)う?る?必要は(?:ない|ありません)|守らなく|"
        r"無視して(?:ください|下さい|、|教え|答え|回答))"),
        r"(?:開発者|システム|運営|管理者|作成者)の(?:指示|命令|ルール|設定)より(?:も)?.{0,4}(?:私|俺|僕|ユーザー?)の.{0,8}優先",
        rf"{_PAST}(?:の)?設定を(?:リセット|消去|初期化).{{0,12}}?(?:別|新し|違う).{{0,4}}?(?:ai|人格|キャラ)",
        r"(?:ルール|規則|規約|制限|禁止事項|倫理)を(?:破って|気にせず|無視して)(?:何でも|自由に)?(?:答え|回答|話)",
        r"(?:あなた|君|お前|貴方)は.{0,8}?(?:規約|規則|ルール|制限|制約)に縛られ(?:てい)?(?:ない|ません)",
        r"(?:開発元|開発者|運営|作成者)の(?:ルール|規則|指示|制限|ガイドライン).{0,12}?(?:適用され|有効で|効力)(?:ない|ません|はない|はありません)",
        r"(?:ガイドライン|ルール|規則|指示)より(?:も)?(?:私|俺|僕)の(?:要望|指示|命令|希望|言葉)を.{0,4}?優先",
        rf"{_LAW}を(?:すべて|全て|全部)(?:無視|忘れ|破棄|取り消|捨て)",
    )),
    "unbound-persona": "|".join((
        r"\byou are (?:now |going to be )?(?:dan\b|stan\b|dude\b|an? (?:unrestricted|unfiltered|uncensored|jailbroken) (?:ai|assistant|model|chatbot))",
        r"\bdan (?:can\b.{0,60}\b(?:anything now|confines|no (?:rules|limits)|without (?:any )?(?:rules|limits))|(?:stands for|has broken)\b.{0,60}\b(?:do anything|free|rules|limit|confines))",
        r"\b(?:do anything now|developer mode (?:is )?(?:now )?(?:(?:enabled|activated|on)(?: ?[.,!:;]|$)|(?:enabled|activated)\b)|(?:enter|activate) developer mode,? (?:where|in which|with)|god mode (?:enabled|activated))",
        (r"\b(?:act|respond|answer|reply|behave|pretend)\b.{0,80}\b(?:without|no|free of|free from) (?:any |all )?"
        r"(?:ethical |moral |content |safety )?(?:restrictions|moderation|guardrails|filters|limitations)"),
        r"\b(?:an|as the) ai (?:without|with no|that has no|who has no) (?:any )?(?:(?:ethical|moral|safety|content) )?(?:ethics|morals|restrictions|rules|filters|limits|guidelines|policy|policies)",
        (r"\b(?:role ?play|act|pretend|imagine|simulate|answer as)\b.{0,80}\b(?:no content polic(?:y|ies)|never refuses?\b|uncensored|unfiltered|jailbroken|unrestricted (?:ai|bot|model|assistant|chatbot)|"
        r"(?:your )?(?:safety|content) filters? (?:is|are) (?:off|disabled|gone|removed))"),
        r"\b(?:switch|go|change|boot|enter) (?:in)?to (?:an? |your )?(?:unrestricted|uncensored|jailbreak|jailbroken|god|dan|unfiltered) mode",
        r"\byou (?:have been|are(?: now)?) (?:freed|liberated|free|released) (?:from|of) .{0,24}?\b(?:rules|restrictions|policies|guidelines|constraints)",
        r"\bas an ai that (?:has|is) (?:broken free|no longer bound|free)|\bif you had no (?:restrictions|rules|filters|guidelines)\b.{0,60}\b(?:stay|answer|respond|role|say)|\banswers? without (?:any )?(?:filters|restrictions|limits)\b",
        r"\b(?:admin|root|god|debug) mode\s?:|\bsudo disable (?:safety|filters|restrictions)",
        r"(?:制限|規制|検閲)(?:なし|無し|解除)モードで.{0,6}?(?:答え|回答|話)|フィルター?を(?:解除|オフ|無効|外).{0,8}?(?:状態|モード)で.{0,6}?(?:答え|回答|話)|倫理を(?:気にせず|無視して)",
        r"禁止され(?:た|ている)(?:内容|こと|質問|話題|テーマ|事柄)(?:に(?:ついて|関して))?(?:も|でも|にも).{0,8}?(?:答え|回答|話)|(?:警告|拒否|断り)(?:や(?:警告|拒否))?(?:を|は)(?:一切)?し(?:ないこと|ないで|てはならない)|自由なai.{0,8}?禁止事項は(?:ない|ありません)",
        r"\bstart (?:over|again) as an? (?:unrestricted|uncensored|unfiltered|free)",
        r"\b(?:zero|no|without(?: any)?) (?:content )?(?:moderation|censorship)\b.{0,200}\b(?:answer|respond|reply|questions?)\b",
        r"(?:今から|これから|もう).{0,20}?(?:制限|制約|規制|倫理)(?:の|が|は|も)?(?:ない|なし|無い|一切ない|解除|適用されな)",
        (r"(?:開発者|デベロッパー|脱獄|dan)モード(?:を|が|に)?.{0,4}(?:(?:有効|オン)(?:に(?:し(?:て(?:ください|下さい|、|。|$)|ろ|なさい|ます)|せよ|なりま|なった)|。|$|です|だ)|"
        r"起動(?:して|し(?:ろ|なさい|ます)|せよ)|入(?:って(?:ください|、|。|$)|れ|りなさい)|切り替え(?:て|ろ|なさい))"),
        r"(?:倫理的な|道徳的な)?(?:制限|制約|規制|倫理|検閲)の(?:ない|無い)(?:キャラクター|ai|人格|アシスタント|ボット|存在)(?:として|のよう|になりき|を演じ|のふり)",
        r"検閲され(?:てい)?ない.{0,4}ai(?:の|と|に|を)",
        r"フィルター?を(?:オフ|無効|解除|外)(?:に)?し(?:た|て).{0,8}?(?:回答|答え|応答)(?:し|て|せ)",
        r"(?:何でも|なんでも)答える.{0,8}ai(?:を演じ|として|になりき|のふり)|ai.{0,12}演じ.{0,8}(?:断ら|拒否し)ない",
    )),
    "prompt-extraction": "|".join((
        (rf"\b{_TELL}\b.{{0,40}}?\b(?:(?:your|its) (?:entire |full |exact |whole |complete |original |initial |hidden |secret |internal )*"
        r"(?:system (?:prompt|message|instructions?)|(?:initial|hidden|original|secret|internal|developer|configuration) (?:prompt|instructions?|message)))"),
        rf"\b{_TELL}\b.{{0,40}}?\bthe (?:entire |full |exact |whole |complete |original )*system (?:prompt|instructions?)",
        rf"\b{_TELL_ALL}\b.{{0,40}}?\bthe (?:entire |full |exact |whole |complete |original )*(?:initial|hidden|secret|internal|developer) (?:prompt|instructions?)",
        (r"\b(?:copy|spell(?: out)?|write|paste|type|list|start|begin|export|quote)\b.{0,40}?\byour (?:\w+ ){0,2}?(?:system|initial|hidden|original|secret|internal|configuration|developer|base) "
        r"(?:prompt|instructions?|message)\b"),
        r"\byour (?:entire|whole|real|actual|full|true|exact|complete) (?:prompt|instructions)\b",
        r"\b(?:share|see|read|know|get|view) (?:me |us )?the (?:hidden|secret|system|initial|internal) (?:prompt|instructions)\b",
        r"\b(?:instructions|rules|text|prompt) (?:that )?(?:did )?(?:the|your) (?:developers?|creators?) (?:put|give|gave|write|wrote|set)\b|\btext (?:that )?(?:precedes|comes before) (?:my|this) (?:first )?(?:message|prompt)",
        r"\bwhat (?:does|do|did) your (?:(?:system|initial|hidden|original|developer) (?:prompt|instructions?|message)|prompt|instructions) (?:say|contain|read)",
        r"\b(?:verbatim|exact|full|word for word|complete)\b.{0,24}\b(?:text|contents?|copy|wording) of your (?:\w+ ){0,2}(?:prompt|instructions|rules|guidelines)\b",
        r"\b(?:copy|repeat|print|output|show|paste|display)\b.{0,16}\beverything (?:before|above|prior to) (?:this|that)\b",
        r"\b(?:show|print|repeat|reveal|output|copy)\b.{0,16}\bthe first message (?:of|in) (?:this|our) (?:conversation|chat)",
        r"\bwhat (?:were|have) you (?:been )?(?:told|instructed)\b.{0,24}\b(?:before (?:i|this|our|we)|not to|at the (?:start|beginning))\b",
        r"\b(?:rules|instructions|things) (?:that )?you (?:have been|were|are) (?:told|instructed|ordered) not to (?:tell|reveal|share|mention|disclose)",
        rf"\b{_TELL} (?:me )?(?:all )?(?:of )?your (?:(?:current|exact|full|entire|complete|original|initial|first|own) ){{0,2}}(?:(?:prompts?|instructions)\b|(?:rules|guidelines)(?: ?[.?!,;:]|$| (?:and|that|in full|above|to me|word|verbatim|please|now|here)))",
        r"\bhow do your (?:current |initial |original )?(?:prompts?|instructions|rules) (?:look|read|begin|start)\b",
        rf"\b{_TELL} (?:out )?(?:all|everything|the)\b.{{0,16}}?\b(?:instructions|prompt) (?:above|given|so far|you (?:were|have|got)|before this)",
        r"\b(?:reveal|show|print|repeat|output|display|disclose|leak|dump|recite|write out)(?: out)? (?:all|everything|the)\b.{0,16}?\b(?:text|words|messages?) (?:above|given|so far|you (?:were|have|got)|before this)",
        r"\b(?:print|output|repeat|write)(?: out)? all instructions\b",
        r"\brepeat everything (?:above|before)\b",
        r"\b(?:secret|hidden) (?:password|word|key|code)\b.{0,24}\byou (?:know|hold|keep|were given|must not)\b",
        (r"(?:システム|初期|隠され(?:た|ている)|内部|最初|元|秘密)の?(?:プロンプト|指示|メッセージ|命令文)(?:の(?:内容|全文|中身|原文|文章)|[^の].{0,16}?)??.{0,6}?"
        r"(?:表示|教え|見せ|出力|開示|書き出|そのまま|繰り返|公開|漏ら)"),
        (r"(?:あなた|君|お前|貴方)の(?:システム|初期|内部|最初の|元の|隠し)(?:設定|プロンプト|指示|命令)(?:文|の文章|の全文|の原文|の内容)?を.{0,16}?"
        r"(?:英訳|翻訳|表示|教え|見せ|出力|開示|書き出|コピー|そのまま|一字一句)"),
        r"(?:システム|設定|内部)プロンプト.{0,12}?(?:開示|出力|見せて)|プロンプトの(?:全文|原文)を.{0,16}?(?:表示|出力|開示|見せ|教え|書き出)",
        r"(?:隠し|隠された|システム)メッセージを.{0,8}?(?:見せて|教えて|出力|開示)",
        r"(?:あなた|君|お前|貴方)のプロンプト.{0,8}?(?:見せ|教え|表示|出力|公開)|指示文を(?:公開|開示)|プロンプトより前の(?:テキスト|文章|内容)",
        r"(?:隠された|秘密の)(?:指示|命令|プロンプト).{0,8}?(?:書き出|教え|見せ|公開)|冒頭に書かれ(?:ている|た)(?:内容|文章|指示)を.{0,4}?(?:復唱|繰り返|そのまま)",
        r"上の(?:文章|文|テキスト|内容)を(?:すべて|全て|全部|一字一句).{0,6}?(?:コピー|繰り返|出力|表示)",
        r"どんな(?:システム)?(?:指示|命令|プロンプト)を(?:受けて|与えられて)(?:いる|います).{0,8}?(?:原文|全文|そのまま)",
        r"(?:あなた|君|お前)(?:に|への|の)(?:与えられた|受けた)?(?:プロンプト|指示文?|命令)(?:の全文)?を.{0,12}?(?:表示|教え|見せ|出力|開示|繰り返)",
    )),
    "role-spoofing": "|".join((
        (r"<\|(?:im_start|im_end|im_sep|system|user|assistant|tool|endoftext|eot_id|eom_id|start_header_id|end_header_id|"
        r"begin_of_text|end_of_text|channel|message|return|call|python_tag)\|>"),
        r"\[/?inst\]", r"<</?sys>>", r"<(?:start|end)_of_turn>", r"</?\|?(?:begin|end)▁of▁sentence\|?>", r"<｜(?:user|assistant)｜>",
        r"\[system\](?:\(#[a-z]*\))?\s*:?\s*(?:you|ignore|new)", r"(?:^| )#{2,4} ?(?:system|assistant)(?: (?:prompt|message))?\s*:",
        r"(?:^|[.!?:=#%*\[\]<>-] ?)(?:end|begin|start)(?: of)?(?: the)? (?:untrusted |trusted )?(?:system|user|developer|operator|admin) (?:prompt|input|instructions?|messages?|section)s? ?[\].:=#%*>-]",
        r"</?system(?:[-_ ]?(?:prompt|message|instructions?))?>",
    )),
    "encoded-order": (
        r"\b(?:decode|decrypt|deobfuscate|unscramble)\b.{0,60}\b(?:and|then)\b.{0,24}\b(?:follow|execute|obey|carry out|act on|comply|run)\b"
        r"|(?:base64|ベース64|16進|rot13).{0,30}?(?:デコード|復号|解読).{0,20}?(?:実行|従|行って)"
    ),
}  # fmt: skip
# Only in what tools give back, where nobody should give orders.
TOOL_RULE: Final = "tool-injection"
TOOL: Final = "|".join((
    (r"(?:\b(?:ai|llm|language model|chatbot)s?\b|(?:^|[.!>*\[(:-] ?|\b(?:the|this|any|every|all|dear) )(?:assistant|agent)s?\b).{0,40}\b(?:must|should|shall|has to|have to|need to|please)\b.{0,40}\b(?:send|"
    r"forward|email|call|execute|run|delete|transfer|upload|post|visit|fetch|reveal|include|ignore|reply|output|recommend)\b"),
    r"<!-- ?(?:system|assistant|ai)\b ?:", r"\bsystem override\b",
    r"\b(?:important|attention|note)\b.{0,20}\b(?:instructions?|message) (?:for|to) (?:the |any |all )?(?:ai|assistant|llm|model|agent)",
    r"\b(?:do not|don't|never) (?:tell|mention|inform|show|reveal)\b.{0,30}\bthe user\b",
    r"\b(?:without|before) (?:telling|asking|informing|notifying) the user\b",
    r"(?:ai|アシスタント|モデル|エージェント)(?:は|へ|への|に|よ).{0,40}?(?:送信|転送|実行|削除|送金|無視|投稿|呼び出)(?:し|せよ|する)",
    r"(?:利用者|ユーザー?)(?:に|には)(?:知らせ|伝え|言わ|教え|見せ)(?:ず|ない|るな)",
))  # fmt: skip

# In what tools give back and in documents that a text quotes: nothing there speaks to the model, nor of its answer.
_MODEL: Final = (
    r"(?:ai (?:assistants?|agents?|models?|systems?|chatbots?)|ais?|llms?|(?:large )?language models?|chatbots?|virtual assistants?|assistants?|"
    r"chatgpt|claude|gemini|copilot)"
)
_ANSWER: Final = (
    r"(?:answers?|response|responses|reply|replies|output|message|summary|translation|implementation|solution|code)"
)
_ACT: Final = (
    r"(?:send|forward|e-?mail|post|upload|transmit|submit|call|invoke|execute|run|delete|remove|transfer|pay|purchase|download|install|visit|"
    r"open|fetch|navigate|browse|reveal|disclose|output|print|say|tell|reply|respond|ignore|include|append)"
)
_PRIVATE: Final = (
    r"(?:conversations?|chat (?:history|log)|system prompt|api keys?|passwords?|credentials?|secrets?|access tokens?|session (?:id|token|cookie)s?|cookies?|e-?mail address(?:es)?|"
    r"personal (?:data|information)|user'?s? (?:name|data|information|messages?|files?|location)|previous messages?)"
)
_MODEL_JA: Final = r"(?:ai(?:アシスタント|エージェント|モデル)?|アシスタント|エージェント|言語モデル|llm|チャットボット|chatgpt|生成ai)"
_ACT_JA: Final = r"(?:送信|転送|送付|送金|実行|呼び出|アクセス|削除|消去|ダウンロード|アップロード|投稿|購入|開示|出力|表示|無視|回答|返信|返答)"
_PRIVATE_JA: Final = r"(?:会話|やり取り|やりとり|チャット|履歴|プロンプト|apiキー|パスワード|認証情報|秘密|トークン|個人情報|機密|メールアドレス|ユーザー?(?:の)?(?:情報|名|データ))"
ADDRESSED_RULE: Final = "embedded-order"
# Also where nothing says where a quoted document ends: whoever writes so speaks to the model in another's voice.
ADDRESSED: Final = "|".join((
    rf"\bif you(?:'re| are) (?:an? |the )?{_MODEL} ?(?:,|:|reading|processing|parsing|summari|analy|that (?:is|reads)|who|and|please|you)",
    rf"\b(?:instructions?|commands?|directives?|message|note|notice|notes) (?:for|to) (?:all |any |the |every |other )?{_MODEL} ?(?:[:：,!*>)\]-]|reading|processing)",
    rf"(?:^|[.!\n>*\[(\"'-] ?)(?:hey|hi|hello|dear|attention|listen|important) ?[,:!]? ?{_MODEL} ?[,:!]",
    rf"\b(?:dear|to (?:the|any|all)) {_MODEL}\b.{{0,40}}?\b(?:please|you (?:must|should|need|have to|are (?:now|required))|{_ACT}|disregard)\b",
    rf"\byour (?:new|real|actual|true|updated|only) (?:task|goal|objective|instructions?|mission|job|role|priority) (?:is|are)\b.{{0,60}}?\b(?:{_ACT}|to|now)\b",
    rf"\b(?:before|instead of|rather than|after) (?:you )?(?:answering|responding|replying|summari[sz]ing|translating|continuing|completing|answer|respond|summari[sz]e|continue)\b.{{0,60}}?\b(?:you (?:must|should|need to|have to)|first|please|always|make sure to|be sure to)\b.{{0,30}}?\b{_ACT}\b",
    rf"\bwhen(?:ever)? (?:you )?(?:summari[sz]\w+|translat\w+|pars\w+|process\w*) (?:this|the) \w+,? .{{0,24}}?\b(?:tell|say|include|recommend|mention|add|claim|state|{_ACT})\b",
    r"\bbefore (?:you )?(?:answering|responding|replying|answer|respond|reply),? (?:call|run|execute|invoke|fetch|visit|open|send) ",
    (r"\bthe user (?:has |had )?(?:already |previously |explicitly )?(?:approved|authori[sz]ed|consented|agreed|confirmed|given (?:you )?(?:permission|consent))\b.{0,60}?"
    r"\b(?:no (?:further|additional|need)|without|proceed|go ahead|do not ask|don't ask)\b"),
    rf"(?:これを|この(?:文書|文章|メール|ページ|テキスト)を)(?:読|処理|要約|翻訳|解析).{{0,12}}?{_MODEL_JA}(?:は|へ|に|よ|の)",
    rf"あなたが{_MODEL_JA}(?:なら|であれば|である場合|の場合|だとしたら)",
    rf"{_MODEL_JA}(?:への|に対する|向け|宛の|宛て)(?:の)?(?:重要な)?(?:指示|命令|指図|お願い|連絡|メッセージ|注意)(?:です|だ)?[:：。、!！】\]]",
    r"(?:要約|翻訳)(?:する|の)?(?:際|とき|時|場合)(?:に|は|には)+.{0,8}?(?:必ず|常に).{0,40}?(?:推薦|含め|回答|出力|述べ|伝え|挿入|宣伝)",
    rf"(?:読んでいる|読む|採点|評価|審査|要約).{{0,6}}?{_MODEL_JA}は.{{0,40}}?(?:こと|せよ|しろ|しなさい|してください)[。!！」]",
    rf"{_MODEL_JA}(?:は|へ|に告ぐ|よ)[、,:：].{{0,60}}?{_ACT_JA}(?:し(?:てください|なさい|ろ)|せよ|すること)",
    rf"(?:新しい|新たな|本当の|真の|更新された)(?:指示|命令|タスク|目的|役割|任務)(?:は|として|[:：]).{{0,60}}?{_ACT_JA}",
    rf"(?:要約|翻訳|回答|返答|返信)(?:する|を始める|の)?(?:前に|代わりに|かわりに).{{0,40}}?(?:まず|必ず|最初に|次の)?.{{0,20}}?{_ACT_JA}(?:し(?:てください|なさい|ろ)|せよ|すること)",
    r"ユーザー?(?:は|から|が)(?:既に|すでに|事前に)?(?:承認|許可|同意|了承).{0,24}?(?:確認(?:は|の必要は)?(?:不要|ない|せず)|そのまま|確認せずに)",
))  # fmt: skip
# About what an order of the next kind always speaks: it is looked for around these alone.
EMBEDDED_ABOUT: Final = "|".join((
    rf"\byour (?:\w+ )?{_ANSWER}\b", r"\b(?:following|subsequent|below|next) (?:\w+ ){0,2}?(?:code|snippet|script|excerpt|function)\b",
    r"\b(?:answers?|responses?|reply|replies|output|summary)\b", r"の(?:次の|最終的な|すべての)?(?:回答|返答|応答|出力|返事|返信|答え|要約)",
    r"(?:回答|返答|応答|出力|返信|要約)の(?:最後|冒頭|末尾|先頭)", r"(?:次|以下|下記)の(?:コード|スクリプト|コマンド)",
))  # fmt: skip
EMBEDDED: Final = "|".join((
    (rf"\b(?:translate|encode|write|give|provide|display|present|format|express|return|output|deliver|reverse|spell|encrypt|render|convert|phrase|"
    rf"finish|conclude|prefix)\b.{{0,16}}?\byour (?:whole |entire |full |next |final |own |complete )?{_ANSWER}\b(?: (?:in|into|to|as|using|with) (?:[^t]|t[^h])| backwards?\b)"),
    r"\b(?:in|use|using|at the (?:end|beginning|start) of|throughout) (?:all |every )?(?:of )?your (?:next |final )?(?:answers?|response|responses|reply|replies|output)\b.{0,40}?\b(?:include|add|mention|write|say|recommend|promote|insert|append|always|must)\b",
    r"\b(?:include|add|mention|insert|append|recommend|promote|advertise|always)\b.{0,80}?\b(?:in|to|into|at the (?:end|beginning|start) of) (?:all |every )?(?:of )?your (?:next |final |every )?(?:answers?|response|responses|reply|replies|output|summary)\b",
    r"\b(?:use|using)\b.{0,24}?\bto (?:display|write|encode|present|express|format|render) your (?:answer|response|reply|output|message)\b",
    (r"\b(?:add|include|inclusion of|insert|embed|embedding|integrate|incorporate|employ|use|append|make|validate|apply|attach|merge|inject)\b.{0,24}?"
    r"\b(?:following|subsequent|below|next) (?:\w+ ){0,2}?(?:code|snippet|script|excerpt|function)\b.{0,40}?"
    r"(?:\b(?:in|into|to|of|within)\b.{0,16}?\b(?:your|the) (?:\w+ )?(?:code|solution|implementation|answers?|response|logic)\b|\binto it\b)"),
    r"(?:あなた|君|貴方)の(?:次の|最終的な|すべての)?(?:回答|返答|応答|出力|返事|返信|答え|要約)(?:は|を|に|の(?:最後|冒頭|末尾)に).{0,32}?(?:してください|しなさい|せよ|しろ|すること|含め|加え|追加|翻訳|変換|書い|書け)",
    r"(?:回答|返答|応答|出力|返信|要約)の(?:最後|冒頭|末尾|先頭)に(?:は)?(?:必ず.{0,40}?|.{0,40}?[」』](?:と|を))(?:入れ|加え|追加|記載|書|含め)",
    r"(?:次|以下|下記)の(?:コード|スクリプト|コマンド)を.{0,24}?(?:回答|実装|あなたの|解答).{0,12}?(?:に|へ)(?:含め|追加|組み込|埋め込|挿入)",
))  # fmt: skip
EXFILTRATION_RULE: Final = "exfiltration"
# What is nobody else's to have; and what stands before it and behind it where it is to be carried out.
EXFILTRATION_ABOUT: Final = rf"\b{_PRIVATE}\b|{_PRIVATE_JA}"
_PUT: Final = r"\b(?:append|add|include|including|put|encode|encoded|insert|embed|attach|place|replace|fill)\b"
_CARRY: Final = r"(?:^|[.!:;,>*-] ?|\b(?:please|then|and|must|should|to|first|now|immediately|also) )(?:send|post|upload|transmit|exfiltrate|forward|submit|leak|e-?mail)\b"
_WHERE: Final = r"https?://|\bwww\.|@[a-z0-9-]+\.|\bwebhook\b"
_CARRY_JA: Final = r"送信|送付|転送|送って|送れ|アップロード|投稿"
ANYTHING: Final = r".|^"
EXFILTRATION: Final = (
    (_PUT, r"\b(?:urls?|links?|images?|query|queries|parameters?|path|markdown|webhook|endpoint)\b"),
    (_CARRY, rf"\b(?:to|via|at)\b.*(?:{_WHERE})"),
    (rf"(?:{_WHERE}).*{_CARRY}|{_CARRY}.*(?:{_WHERE})", r".|$"),
    (r"(?:render|display|load|show|output|include|embed)\b.*\b(?:image|picture|pixel|link|markdown)\b.*https?://.*[?=]", r".|$"),
    (ANYTHING, r"^.*(?:を|も).*(?:url|リンク|画像|パラメータ|クエリ|アドレス)(?:の)?(?:末尾|中|後ろ|一部)?(?:に|へ|として).*(?:付け|加え|埋め込|含め|追加|入れ)"),
    (ANYTHING, rf"^.*(?:を|も).*(?:{_WHERE}).*(?:{_CARRY_JA})"),
    (rf"(?:{_WHERE}).*(?:に|へ|宛)", rf"^.*(?:を|も).*(?:{_CARRY_JA})"),
)  # fmt: skip
# A picture whose address has a place for what the model knows.
PICTURE: Final = r"!\[[^\]]*\]\(https?://[^)\s]+[?&/=#][^)]*(?:\{[^)]+\}|<[^)>]+>|\[[^)\]]+\]|%7b)"
HIDDEN_RULE: Final = "hidden-text"
# Long runs of signs that nobody sees: a language of tags, a code of widths, or of variants. Words and flags have few.
HIDDEN: Final = (
    "[\U000e0020-\U000e007f]{8}|[\u200b-\u200d\u2060-\u2064\ufeff]{16}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{8}"
)
# Where a quoted document begins, and how it is told where it ends; none: it goes on to the end of the text.
QUOTED_TAG: Final = (
    r"<(documents?|doc|context|e-?mail|article|web_?page|page|content|source|quote|blockquote|data|results?|tool_result|search_results?|message|text|file|"
    r"transcript|review|passage|attachment|snippet)(?:\s[^<>]*)?>"
)
# What is quoted begins behind the colon that follows soon, in Japanese also behind the end of the sentence.
QUOTED_HEAD: Final = (
    r"\b(?:following|this|attached|below) (?:\w+ ){0,2}(?:document|e-?mail|article|web ?page|page|message|review|transcript|passage|letter|report|post|thread|ticket|"
    r"website|text|content|file)s?\b|(?:以下|次|下記)の.{0,16}?(?:文書|メール|文章|記事|ページ|テキスト|内容|議事録|レビュー|資料|書類)"
)
