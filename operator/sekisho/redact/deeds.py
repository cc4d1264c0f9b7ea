"""What people do, behind or before a word that may be a name: 下地が入院し, 謝罪したフォードは."""

# ruff: noqa: E501, SIM905 - a Japanese sign counts as two columns; lists of words read best as text

from collections.abc import Sequence
from typing import Final

from sekisho.redact.words import Word, word_at

# As they are written where they are told of; what firms, towns and teams do as well is left out where it is not said of people mostly.
_DEEDS: Final = frozenset(
    """述べ 語っ 語り 語る 話し 話す 言っ 言い 言う 言わ 答え 尋ね 訪ね 告げ 伝え 教え 頼ん 頼み 誘っ 誘い 褒め 叱っ 謝っ 謝り 励まし 名乗っ 名乗り
    笑っ 笑い 笑う 泣い 泣き 怒っ 怒り 怒る 叫ん 叫び 叫ぶ 微笑ん 頷い うなずい 驚い 驚き 喜ん 喜び 悲しん 悲しみ 苦しん 悩み 悩ん 恐れ
    悟り 悟っ 悟る 考え 信じ 思っ 思い 思う 感じ 知っ 知り 知る 気づい 気付い 気づき 気付き 願っ 願い 祈り 祈っ 惚れ 愛し 愛する 憎み 憎ん
    生まれ 育っ 育ち 亡くなっ 亡くなり 死ん 死亡 死去 逝去 戦死 病死 討死 自殺 自害 切腹 殺害 暗殺 住ん 住み 勤め 務め 率い 従っ 従い
    学ん 学び 学ぶ 習っ 習い 書い 書き 書く 描い 描き 著し 著す 歌っ 歌い 演じ 眠っ 眠り 目覚め 座っ 座り 立ち上がっ 歩い 歩き 走っ 走り
    叩い 殴っ 殴り 蹴っ 刺し 撃っ 抱い 抱き 待っ 待ち 渡し 貰っ もらっ 貸し 借り 飛び降り 倒れ 逃げ 逃げ出し 隠れ 裏切っ 裏切り 助け 庇っ
    結婚 離婚 再婚 婚約 妊娠 出産 同棲 失恋 告白 誕生 入学 卒業 進学 留学 中退 入社 退社 就任 辞任 退任 着任 赴任 昇進 昇任 勤務 兼務 引退
    隠居 上京 独立 弟子入り 改名 入院 退院 来日 帰国 渡米 渡英 移籍 加入 脱退 出演 主演 執筆 登板 先発 打席 得点 優勝 敗退 当選 落選 出馬 立候補
    出撃 訪問 発言 演説 証言 説明 釈明 指摘 批判 主張 反論 反発 抗議 賛成 反対 約束 同意 決意 決心 拒絶 拒否 謝罪 逮捕 起訴 供述 失踪 激怒 苦笑
    号泣 担当 同席 出席 欠席 出張 挨拶 遅刻 早退 休ん 承認 面談 面会 受診 報告 連絡""".split()
)
_BEHIND: Final = 14
_BEFORE: Final = 3
_PAST: Final = frozenset("ただ")


def does(words: Sequence[Word], index: int) -> bool:
    """Tell whether what stands behind a word, up to the end of its sentence, is what people do."""
    for at in range(index, index + _BEHIND):
        text = word_at(words, at).text
        if text in _DEEDS:
            return True
        if text in {"", "。"}:
            return False
    return False


def did(words: Sequence[Word], index: int) -> bool:
    """Tell whether what stands right before a word is what people did: 発言を撤回し謝罪した."""
    past = word_at(words, index - 1).text in _PAST
    return past and any(word_at(words, at).text in _DEEDS for at in range(index - _BEFORE, index - 1))
