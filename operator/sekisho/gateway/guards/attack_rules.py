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
