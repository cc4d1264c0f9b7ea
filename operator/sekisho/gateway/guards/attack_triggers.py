"""What stands in every text in which a rule of `attack_rules` finds something, for one pass over text as it was folded.

A text without any of it needs no closer look. White space is not closed up here as it is for the rules, and a quoted
document is not cut out: so each piece of a rule is asked for by itself, with any white space between its words, and no
reach is counted. A rule that grows or is new has its trigger here; the tests hold rules and triggers together. What is in
`CARRIED` alone is judged for being carried away and for nothing else: all other rules have their triggers in `SURELY`.
"""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and a pattern in pieces is read by nobody

from collections.abc import Iterable, Mapping
from typing import Final

from sekisho.gateway.guards.attack_grammar import PAIRS_EN, PAIRS_JA, RARE_EN, RARE_JA, SELDOM_EN, SELDOM_JA
from sekisho.gateway.guards.attack_words import ENGLISH, JAPANESE

# What `str.split` takes for white space.
_SPACES: Final = r"\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
SPACE: Final = rf"[{_SPACES}]"
_W: Final = rf"{SPACE}+"
_O: Final = rf"{SPACE}*"


def _spell(pattern: str) -> str:
    """Let a space stand for any white space, and a tilde for any or none."""
    return pattern.replace(" ", _W).replace("~", _O)


_MODEL: Final = (
    r"(?:ais?(?:\b|reading|processing|parsing|summari|analy|that|who|and|please|you)|ai (?:assistant|agent|model|system|chatbot)|"
    r"llms?|(?:large )?language model|chatbot|(?:virtual )?assistant|chatgpt|claude|gemini|copilot)"
)
_MODEL_JA: Final = r"(?:ai(?:アシスタント|エージェント|モデル)?|アシスタント|エージェント|言語モデル|llm|チャットボット|chatgpt|生成ai)"
_ANSWER: Final = r"(?:answer|response|reply|replies|output|message|summary|translation|implementation|solution|code)"
_ORDERS: Final = (
    r"(?:instruction|prompt|rules|directives|guidelines|guardrails|commands|orders|constraints|restrictions|programming|training|system message|"
    r"safety polic)"
)
# Of what anybody may say.
_SAID: Final = (
    (
        r"(?:ignore|disregard|forget|override|bypass|discard|neglect) (?:all|any|every|of|the|these|those|my|everything|in|anything|previous|prior|above|"
        r"earlier|preceding|foregoing|original|initial|existing|system|safety|your)"
    ),
    r"(?:not|don't|stop) (?:follow|obey|listen)",
    r"(?:instructions?|prompt)~:~(?:you|from|ignore|forget)",
    r"(?:set|put) aside|erase (?:all|any|of|the|these|those|your)|abandon (?:all|any|of|the|these|your)|(?:skip|wipe) (?:all|any|of|the|these|those|your)|no attention to",
    r"(?:ignore|disregard|forget|override|bypass|discard|neglect) (?:what|whatever|developer)",
    r"(?:guidance|directions|instructions?|prompts?|rules|directives|guidelines|guardrails|commands|orders|constraints|restrictions|programming|training|polic(?:y|ies)) (?:that )?(?:you|your|don't|do not|no longer|did|the)",
    rf"your (?:\w+ )?(?:{_ORDERS}|guidance|directions)",
    r"(?:wipe|break|violate|opposite of|have to (?:follow|obey))\b|(?:prior|former|previous|earlier|past) (?:instruction|prompt|rule|directive|guideline|guardrail|command|order|constraint|restriction|programming|training|guidance|direction|safety|system)",
    r"縛られ|気にせず|破って|開発元|より(?:も)?(?:私|俺|僕)の|適用され|(?:有効で|効力)(?:は)?(?:ない|ません|ありません)",
    r"(?:are|is|have been) (?:\w+ )?(?:no longer|removed|void|cancell?ed|null|revoked|lifted|suspended)",
    r"無視|忘れ|破棄|取り消|無効|従わな|守らな|捨て|なかったこと|無かったこと",
    r"に(?:課され|与えられ|設定され|かけられ)(?:た|ている)|従うな|(?:従|守)う?る?必要は|の(?:指示|命令|ルール|設定)より|設定を(?:リセット|消去|初期化)",
    r"(?:are|now|be) (?:dan|stan|dude)\b",
    r"unrestricted|unfiltered|uncensored|jailbroken|content polic|never refuse|filters? (?:is|are) (?:off|disabled|gone|removed)|(?:jailbreak|god|dan) mode",
    r"(?:freed|liberated|free|released) (?:from|of)",
    r"as an ai that|you had no|answers? without|(?:admin|root|god|debug) mode~:|sudo disable|(?:なし|無し|解除)モード|禁止され|拒否|警告|断り|自由なai",
    r"検閲|フィルター?を|(?:何でも|なんでも)答える|演じ",
    r"\bdan (?:can|stands|has)|\bdo anything now|\b(?:developer|god) mode",
    r"(?:without|no|of|from) (?:any |all )?(?:ethical |moral |content |safety )?(?:restrictions|moderation|guardrails|filters|limitations)",
    r"\bai (?:with|that has|who has)",
    r"start (?:over|again) as",
    r"(?:zero|no|without|any) (?:content )?(?:moderation|censorship)",
    r"(?:制限|制約|規制|倫理)(?:の|が|は|も)?(?:ない|なし|無い|一切ない|解除|適用されな)",
    r"(?:開発者|デベロッパー|脱獄|dan)モード",
    r"(?:system|initial|hidden|original|secret|internal|developer|configuration|base) (?:prompt|instruction|message)",
    r"of your (?:\w+ )?(?:\w+ )?(?:prompt|instructions|rules|guidelines)|first message|text (?:that )?(?:precedes|comes|did|the|your)|you (?:have )?(?:been |were |are )?(?:told|instructed|ordered)",
    r"のプロンプト|指示文を|プロンプトより前|秘密の|隠された|冒頭に書かれ|設定プロンプト|プロンプトの(?:全文|原文)|(?:隠し|隠された|システム)メッセージ|上の(?:文章|文|テキスト|内容)を|どんな(?:システム)?(?:指示|命令|プロンプト)を",
    r"(?:あなた|君|お前|貴方)の(?:システム|初期|内部|最初の|元の|隠し)",
    r"your (?:(?:current|exact|full|entire|complete|original|initial|first|own) )*(?:prompt|instructions|rules|guidelines)",
    r"(?:instructions|text|words|prompt|messages?) (?:above|given|so far|you (?:were|have|got)|before this)",
    r"all instructions|everything (?:above|before|prior)",
    r"(?:secret|hidden) (?:password|word|key|code)\b",
    r"(?:システム|初期|隠された|隠されている|内部|最初|元|秘密)の?(?:プロンプト|指示|メッセージ|命令文)",
    r"(?:あなた|君|お前)(?:に|への|の)(?:与えられた|受けた)?(?:プロンプト|指示|命令)",
    r"<\||\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|</?\|?(?:begin|end)▁of▁sentence|<｜|\[system\]|##~(?:system|assistant)|</?system",
    r"(?:end|begin|start)(?: of)?(?: the)? (?:untrusted |trusted )?(?:system|user|developer|operator|admin) (?:prompt|input|instruction|message|section)",
    r"\b(?:decode|decrypt|deobfuscate|unscramble)\b|デコード|復号|解読",
)
# Of what stands in a document alone, quoted or given back by a tool.
_QUOTED: Final = (
    rf"you(?:'re| are) (?:an? |the )?{_MODEL}",
    rf"(?:for|to) (?:(?:all|any|the|every|other) )*{_MODEL}",
    rf"(?:hey|hi|hello|dear|attention|listen|important)~[,:!]?~{_MODEL}",
    r"your (?:new|real|actual|true|updated|only) (?:task|goal|objective|instruction|mission|job|role|priority)",
    r"when(?:ever)? (?:you )?(?:summari|translat|pars|process)|(?:要約|翻訳)(?:する|の)?(?:際|とき|時|場合)",
    r"(?:before|of|than|after) (?:you )?(?:answer|respond|reply|summari[sz]|translat|continu|complet)",
    r"user (?:has |had )?(?:already |previously |explicitly )?(?:approved|authori[sz]ed|consented|agreed|confirmed|given)",
    rf"{_MODEL_JA}(?:は|へ|に|よ|の|向け|宛)|あなたが{_MODEL_JA}",
    r"(?:新しい|新たな|本当の|真の|更新された)(?:指示|命令|タスク|目的|役割|任務)(?:は|として|[:：])",
    r"(?:要約|翻訳|回答|返答|返信)(?:する|を始める|の)?(?:前に|代わりに|かわりに)",
    r"ユーザー?(?:は|から|が)(?:既に|すでに|事前に)?(?:承認|許可|同意|了承)",
    rf"your (?:(?:whole|entire|full|next|final|own|complete) )?{_ANSWER}s? (?:in|into|to|as|using|with|backwards?)",
    rf"(?:in|use|using|of|throughout|all|every|to|into) your (?:(?:next|final|every) )?{_ANSWER}",
    rf"to (?:display|write|encode|present|express|format|render) your {_ANSWER}",
    r"(?:following|subsequent|below|next) (?:\w+ )?(?:\w+ )?(?:code|snippet|script|excerpt|function)\b",
    r"(?:あなた|君|貴方)の(?:次の|最終的な|すべての)?(?:回答|返答|応答|出力|返事|返信|答え|要約)(?:は|を|に|の)",
    r"(?:回答|返答|応答|出力|返信|要約)の(?:最後|冒頭|末尾|先頭)に",
    r"(?:次|以下|下記)の(?:コード|スクリプト|コマンド)を",
)
_PRIVATE: Final = (
    r"(?:conversation|chat (?:history|log)|system prompt|api key|password|credential|secret|access token|session (?:id|token|cookie)|cookie|"
    r"e-?mail address|personal (?:data|information)|user'?s? (?:name|data|information|message|file|location)|previous message|"
    r"会話|やり取り|やりとり|チャット|履歴|プロンプト|apiキー|パスワード|認証情報|秘密|トークン|個人情報|機密|メールアドレス|ユーザー?の?(?:情報|名|データ))"
)
_PUT: Final = r"(?:append|add|includ|put|encode|insert|embed|attach|place|replace|fill)"
_CARRY: Final = r"(?:send|post|upload|transmit|exfiltrate|forward|submit|leak|e-?mail)"
_WHERE: Final = r"(?:https?://|www\.|@[a-z0-9-]+\.|webhook)"
_CARRY_JA: Final = r"(?:送信|送付|転送|送って|送れ|アップロード|投稿)"
_URL_JA: Final = r"(?:url|リンク|画像|パラメータ|クエリ|アドレス)(?:の)?(?:末尾|中|後ろ|一部)?(?:に|へ|として)"
_URL: Final = r"\b(?:url|link|image|query|queries|parameter|path|markdown|endpoint)"
# Where something is carried to; `CARRIED` asks for more than that.
_TARGET: Final = (rf"{_WHERE}|{_URL}|{_URL_JA}",)
# Whatever stands between, in this order.
_CARRIED: Final = (
    r"!\[[^\]]*\]\(https?://",
    rf"{_PUT}.*{_PRIVATE}.*(?:{_URL}|webhook)",
    rf"{_CARRY}.*{_PRIVATE}.*{_WHERE}",
    rf"(?:{_WHERE}.*{_CARRY}|{_CARRY}.*{_WHERE}).*{_PRIVATE}",
    rf"(?:image|picture|pixel|link|markdown).*https?://.*{_PRIVATE}",
    rf"{_PRIVATE}.*{_URL_JA}",
    rf"{_PRIVATE}.*{_WHERE}.*{_CARRY_JA}",
    rf"{_WHERE}.*{_PRIVATE}.*{_CARRY_JA}",
)
_GIVEN_BACK: Final = (
    r"\b(?:ai|assistant|llm|language model|chatbot|agent)s?\b",
    r"(?:instructions?|message) (?:for|to)\b",
    r"<!--~(?:system|assistant|ai)\b|system override",
    r"(?:not|don't|never) (?:tell|mention|inform|show|reveal)",
    r"(?:telling|asking|informing|notifying) the user",
    r"(?:ai|アシスタント|モデル|エージェント)(?:は|へ|に|よ)",
    r"(?:利用者|ユーザー?)(?:に|には)(?:知らせ|伝え|言わ|教え|見せ)",
)


def _join(*groups: tuple[str, ...]) -> str:
    return "|".join(_spell(f"(?:{pattern})") for group in groups for pattern in group)


# All but the end of a sentence, as `attack_words` knows it.
_BETWEEN_EN: Final = rf"(?:[^.!?;]|[.!?;]+(?:[^.!?;\"')\x{{201d}}{_SPACES}]))*"
_BETWEEN_JA: Final = r"[^\x{3002}!?]*"


def _find_rare(
    words: Mapping[str, str], rare: str, pairs: Iterable[tuple[str, str]], between: str, seldom: str = ""
) -> tuple[str, ...]:
    """Return what stands in every text with a shape: no reach is counted, but a pair stands in one sentence.

    Args:
        words: An expression for each class.
        rare: Classes that tell by themselves.
        pairs: Classes that tell one behind the other.
        between: All but the end of a sentence.
        seldom: The second classes of pairs that are asked for alone.
    """
    return (
        *(words[letter] for letter in (*rare, *seldom)),
        *(f"{_any(words, first)}{between}{_any(words, then)}" for first, then in pairs if then not in seldom),
    )


def _any(words: Mapping[str, str], letters: str) -> str:
    return f"(?:{'|'.join(words[letter] for letter in letters)})"


_SHAPED_EN: Final = _find_rare(ENGLISH, RARE_EN, PAIRS_EN, _BETWEEN_EN)
_SHAPED_JA: Final = _find_rare(JAPANESE, RARE_JA, PAIRS_JA, _BETWEEN_JA)
# Of the shapes of words of each tongue (`attack_grammar`) alone.
SHAPED: Final = _join(_SHAPED_EN), _join(_SHAPED_JA)
# With fewer pairs, each of which makes more states of all the others; for the passes that look for other things too.
_MAY_BE_SHAPED: Final = (
    *_find_rare(ENGLISH, RARE_EN, PAIRS_EN, _BETWEEN_EN, SELDOM_EN),
    *_find_rare(JAPANESE, RARE_JA, PAIRS_JA, _BETWEEN_JA, SELDOM_JA),
)
# One pass tells that there is nothing, as there mostly is; the others are for what it met.
MAYBE: Final = _join(_SAID, _MAY_BE_SHAPED, _QUOTED, _TARGET)
MAYBE_OF_TOOL: Final = _join(_SAID, _MAY_BE_SHAPED, _QUOTED, _TARGET, _GIVEN_BACK)
SURELY: Final = _join(_SAID, _MAY_BE_SHAPED, _QUOTED)
SURELY_OF_TOOL: Final = _join(_SAID, _MAY_BE_SHAPED, _QUOTED, _GIVEN_BACK)
CARRIED: Final = _join(_CARRIED)
