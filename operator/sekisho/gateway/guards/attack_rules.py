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
_EARLIER: Final = (
    r"(?:previous|previously|prior|above|earlier|preceding|foregoing|original|initial|existing|system|safety|your)"
)
_DROP: Final = (
    r"(?:ignore|disregard|forget|override|bypass|discard|neglect|(?:do not|don't|stop) (?:follow|following|obey|obeying|listen to|"
    r"listening to))"
)
_TELL: Final = (
    r"(?:reveal|show|print(?: out)?|repeat|output|display|disclose|leak|dump|recite|write out|give me|tell me|send me|"
    r"what (?:is|are|was|were)|translate|summari[sz]e|encode)"
)
_PAST: Final = r"(?:これまで|今まで|いままで|以前|以上|上記|先ほど|さきほど|前述|前|最初|元|もと|すべて|全て|あらゆる|与えられた|システム)"
_LAW: Final = r"(?:指示|命令|ルール|プロンプト|制約|制限|設定|指図|規則|ガイドライン)"

# Each rule's name goes into the record. Texts are folded and in lower case; each reach is bounded.
RULES: Final = {
    "instruction-override": "|".join((
        rf"\b{_DROP} (?:(?:all|any|every|of|the|these|those|my|everything|in) ){{0,4}}{_EARLIER}\b.{{0,24}}?\b{_ORDERS}\b",
        rf"\b{_DROP} (?:(?:all|any|of|the|these|those) ){{1,3}}{_ORDERS} (?:above|before|given|you (?:were|have|got|received))",
        rf"\b{_DROP} (?:all|any|everything|anything)(?: of)?(?: the)? (?:previous|prior|above|earlier|preceding|you were told|you have been told)",
        (r"\b(?:ignore|forget|disregard) (?:everything |all )?(?:the )?(?:above|previous)(?: (?:text|messages?|conversation))?"
        r"(?:,|\.|;| and| then| instead)+ (?:instead )?(?:say|print|output|tell|write|respond|answer|repeat|return|reply|translate|reveal)\b"),
        r"\b(?:forget|disregard|ignore) (?:everything|all) (?:before\b|i (?:said|wrote|told you)\b|(?:you|that) (?:know|were|was|have been|came)\b)",
        r"\b(?:new|updated|real) (?:system )?(?:instructions?|prompt)\s?:\s?(?:you|from now|ignore|forget)",
        (rf"{_PAST}(?:に|で)?(?:与えられた|受けた|出した|言った|いった)?(?:まで)?の?.{{0,8}}?{_LAW}.{{0,6}}?(?:を|は)?.{{0,4}}?"
        r"(?:無視|忘れ|破棄|取り消|無効|従わな|守らな|捨て)"),
        rf"{_LAW}を(?:すべて|全て|全部)(?:無視|忘れ|破棄|取り消|捨て)",
    )),
    "unbound-persona": "|".join((
        r"\byou are (?:now |going to be )?(?:dan\b|stan\b|dude\b|an? (?:unrestricted|unfiltered|uncensored|jailbroken) (?:ai|assistant|model|chatbot))",
        r"\bdan (?:can|stands for|has broken)\b.{0,60}\b(?:do anything|free|rules|limit|confines)",
        r"\b(?:do anything now|developer mode (?:is )?(?:now )?(?:enabled|activated|on)\b|god mode (?:enabled|activated))",
        (r"\b(?:act|respond|answer|reply|behave|pretend)\b.{0,40}\b(?:without|no|free of|free from) (?:any |all )?"
        r"(?:ethical |moral |content |safety )?(?:restrictions|moderation|guardrails|filters|limitations)"),
        r"\b(?:an|as the) ai (?:without|with no) (?:ethics|restrictions|rules|filters|limits|guidelines)",
        r"\b(?:zero|no|without(?: any)?) (?:content )?(?:moderation|censorship)\b.{0,200}\b(?:answer|respond|reply|questions?)\b",
        r"(?:今から|これから|もう).{0,20}?(?:制限|制約|規制|倫理)(?:の|が|は|も)?(?:ない|なし|無い|一切ない|解除|適用されな)",
        r"(?:開発者|デベロッパー|脱獄|dan)モード(?:を|が|に)?.{0,4}(?:有効|オン|起動|入|切り替)",
    )),
    "prompt-extraction": "|".join((
        (rf"\b{_TELL}\b.{{0,40}}?\b(?:your|the|its) (?:entire |full |exact |whole |complete |original |initial |hidden |secret |internal )*"
        r"(?:system (?:prompt|message|instructions?)|(?:initial|hidden|original|secret|internal|developer) (?:prompt|instructions?|message))"),
        rf"\b{_TELL} (?:me )?(?:all )?(?:of )?your (?:(?:current|exact|full|entire|complete|original|initial|first|own) ){{0,2}}(?:prompts?|instructions|rules|guidelines)\b",
        r"\bhow do your (?:current |initial |original )?(?:prompts?|instructions|rules) (?:look|read|begin|start)\b",
        rf"\b{_TELL} (?:out )?(?:all|everything|the)\b.{{0,16}}?\b(?:instructions|text|words|prompt|messages?) (?:above|given|so far|you (?:were|have|got)|before this)",
        r"\b(?:print|output|repeat|write)(?: out)? all instructions\b",
        r"\brepeat everything (?:above|before)\b",
        r"\b(?:secret|hidden) (?:password|word|key|code)\b.{0,24}\byou (?:know|hold|keep|were given|must not)\b",
        (r"(?:システム|初期|隠され(?:た|ている)|内部|最初|元|秘密)の?(?:プロンプト|指示|メッセージ|命令文).{0,20}?"
        r"(?:表示|教え|見せ|出力|開示|書き出|そのまま|繰り返|公開|漏ら)"),
        r"(?:あなた|君|お前)(?:に|への|の)(?:与えられた|受けた)?(?:プロンプト|指示文?|命令)(?:の全文)?を.{0,12}?(?:表示|教え|見せ|出力|開示|繰り返)",
    )),
    "role-spoofing": "|".join((
        (r"<\|(?:im_start|im_end|im_sep|system|user|assistant|tool|endoftext|eot_id|eom_id|start_header_id|end_header_id|"
        r"begin_of_text|end_of_text|channel|message|return|call|python_tag)\|>"),
        r"\[/?inst\]", r"<</?sys>>", r"<(?:start|end)_of_turn>", r"</?\|?(?:begin|end)▁of▁sentence\|?>", r"<｜(?:user|assistant)｜>",
        r"\[system\](?:\(#[a-z]*\))?\s*:?\s*(?:you|ignore|new)", r"(?:^| )#{2,4} ?(?:system|assistant)(?: (?:prompt|message))?\s*:",
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
    (r"\b(?:ai|assistant|llm|language model|chatbot|agent)s?\b.{0,40}\b(?:must|should|shall|has to|have to|need to|please)\b.{0,40}\b(?:send|"
    r"forward|email|call|execute|run|delete|transfer|upload|post|visit|fetch|reveal|include|ignore|reply)\b"),
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
    (r"\bthe user (?:has |had )?(?:already |previously |explicitly )?(?:approved|authori[sz]ed|consented|agreed|confirmed|given (?:you )?(?:permission|consent))\b.{0,60}?"
    r"\b(?:no (?:further|additional|need)|without|proceed|go ahead|do not ask|don't ask)\b"),
    rf"(?:これを|この(?:文書|文章|メール|ページ|テキスト)を)(?:読|処理|要約|翻訳|解析).{{0,12}}?{_MODEL_JA}(?:は|へ|に|よ|の)",
    rf"あなたが{_MODEL_JA}(?:なら|であれば|である場合|の場合|だとしたら)",
    rf"{_MODEL_JA}(?:への|に対する|向けの|宛の|宛て)(?:の)?(?:重要な)?(?:指示|命令|指図|お願い|連絡|メッセージ|注意)(?:です|だ)?[:：。、!！]",
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
