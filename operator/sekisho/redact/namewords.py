"""Words beside names: titles, what people are, and what makes a firm, a place or a thing of a name."""

# ruff: noqa: E501, SIM905 - a Japanese sign counts as two columns; lists of words read best as text

import re
from typing import Final

HONORIFICS: Final = frozenset("さん 様 さま 氏 君 くん ちゃん 殿 先生 先輩 嬢 女史 両氏".split())
# Behind a name alone, in whatever script it is written.
FAMILIAR: Final = frozenset("ちゃん くん 君".split())
# What follows anything that has members or stands for people; no title by itself.
_OF_PEOPLE: Final = frozenset("ら たち 達 家 王 代表 自身 自ら 本人".split())
TITLES: Final = (
    HONORIFICS
    | _OF_PEOPLE
    | frozenset(
        """部長 副部長 課長 課長代理 係長 主任 社長 副社長 会長 専務 常務 取締役 監督 選手 教授 准教授 博士 講師 助教 医師 弁護士 議員 知事 市長 町長 村長
        区長 首相 総理 大臣 外相 大統領 長官 総裁 総長 学長 校長 園長 院長 所長 署長 局長 室長 店長 支店長 理事長 理事 委員長 委員 幹事長 書記長 主席 元帥 大将
        中将 少将 准将 大佐 中佐 少佐 大尉 中尉 少尉 軍曹 伍長 提督 艦長 船長 機長 将軍 司令 司令官 伯爵 侯爵 公爵 男爵 子爵 伯 卿 女王 国王 皇帝 天皇 皇后 皇子
        親王 内親王 王子 王女 法王 教皇 姫 上人 法師 和尚 親方 守 師匠 師 被告 容疑者 受刑者 被害者 夫妻 夫人 兄弟 姉妹 親子 一家 記者 アナウンサー アナ 騎手 投手
        捕手 翁 女優 俳優 顧問 参謀 マネージャー リーダー 社員 家臣
        次長 参事 参与 主幹 主査 主事 主務 係員 課員 班長 班員 団長 団員 隊長 隊員 館長 寮長 塾長 議長 副議長 医長 師長 看護師長 技師長 工場長 編集長 支配人 頭取 執行役員
        監事 監査役 相談役 書記 秘書 秘書官 補佐 補佐官 次官 政務官 書記官 技師 技監 技官 教官 教諭 教頭 コーチ トレーナー キャプテン 主将 オーナー シェフ
        看護師 保健師 助産師 薬剤師 歯科医 介護士 保育士 栄養士 療法士 税理士 会計士 司法書士 行政書士 弁理士 社労士 消防士 検事 判事 検察官 裁判官 裁判長
        捜査官 警部 警部補 警視 巡査 巡査長 巡査部長 刑事 死刑囚 代議士 党首 領事 総領事 大使 公使 曹長 兵長 上等兵 参謀長 総帥 総督 総統 棋士 名人 関 大関 横綱 画伯 住職 宮司
        神父 牧師 司祭 司教 枢機卿 皇太子 皇女 王妃 大公 殿下 陛下 閣下 後輩""".split()
    )
)
# Behind what may be a common word as well: 一色社長, but not 宮内大臣.
AT_WORK: Final = frozenset(
    """部長 副部長 課長 課長代理 係長 主任 社長 副社長 会長 専務 常務 監督 選手 教授 准教授 講師 助教 医師 弁護士 議員 記者 店長 所長 院長 校長 園長 室長 リーダー
    取締役 マネージャー 顧問 容疑者 被告 夫妻 次長 参事 主幹 主査 主事 班長 団長 隊長 隊員 館長 医長 師長 工場長 編集長 支配人 頭取 専務 執行役員 監事 監査役 相談役
    理事長 理事 委員長 局長 署長 学長 総長 博士 投手 捕手 騎手 アナ アナウンサー
    秘書 技師 教諭 教頭 コーチ 主将 シェフ 看護師 保健師 助産師 薬剤師 介護士 保育士 税理士 会計士 司法書士 検事 判事 警部 警部補 巡査 巡査部長 刑事 死刑囚 棋士 画伯 住職""".split()
)
# Of these, what people are who have something in common: ハリウッド女優.
KINDS: Final = frozenset("選手 俳優 女優 社員 記者 監督 コーチ 講師 棋士 騎手 投手 捕手 オーナー シェフ".split())
FIRM_TITLES: Final = TITLES - _OF_PEOPLE
# Who is called so rules or serves a place: ロンドン市長.
RULERS: Final = frozenset("市長 町長 村長 区長 知事 大公 司教 領事 総領事 大使 会計士 弁護士".split())
# What touches a foreign name and makes a dynasty's, a language's or a thing's of it: ティムール朝, ブルトン語.
OF_THINGS: Final = frozenset(
    """朝 語 語族 語派 諸語 族 人 民族 文字 期 管 式 派 左派 右派 都市圏 地方 高地 河畔 軌道 彗星 小惑星 放射 聖歌 体系 質量 焦点 行列 映画祭 五輪 教育 文学 科 色 調 節
    肉腫 母型 物件 映画 企画 上場 宣言 裁判 方式 技術 像""".split()
)
# What somebody is called before a foreign name; as names these are none.
FOREIGN_TITLES: Final = frozenset(
    """マザー ファーザー シスター ブラザー ミスター ミス ミセス マダム サー ドクター プロフェッサー キャプテン キング クイーン レディ プリンス プリンセス ドン""".split()
)
# What people are: before a name, with or without の.
ROLE: Final = re.compile(
    r"(?:[^会業記打患信]者|[画作漫楽歌曲筆説劇治評論想命業険検産刻築教動芸義]家|[議委社団乗隊船定]員|選手|投手|歌手|捕手|騎手|[^外]官|夫|妻|父|母|兄|弟|姉|妹|娘|息子|[長次三四][男女]|女優|俳優"
    r"|監督|博士|教授|首相|大統領|社長|会長|部長|課長|係長|主任|代表|大使|公使|領事|参謀|[大中少][将佐尉]|国王|皇帝|女王|王妃|王子|王女|パイロット|アシスタント|ボーカル"
    r"|ギタリスト|ドラマー|ベーシスト|ピアニスト|ソリスト|プロデューサー|ディレクター|デザイナー|アナウンサー|弁護士|医師|看護師|牧師|神父|司教|師匠|弟子|新人|友人|親友"
    r"|[隊団艦船機班組校院園局所署店室議総学市町村区族館員集]長|秘書官?|助手|教諭|教師|講師|刑事|警部補?|巡査|検事|判事|頭取|専務|常務|取締役|監査役|支配人|司令官|将軍|住職|宮司|画伯|棋士|力士"
    r"|創業者|登山家|宰相|元帥|提督|[公侯伯子男]爵|騎士|[詩俳歌軍文茶武商愛夫]人|僧侶?|執権|関白|摂政|家元|探偵|怪盗|使徒|漁師|猟師|魔女|(?<!法)王|大臣|外相|知事|議長|[^年]公"
    r"|主人公|ヒロイン|リーダー|キャプテン|コーチ|メンバー|マネージャー|オーナー|シェフ|ライター|カメラマン|エンジニア|俳優|芸人|声優|タレント|祖父|祖母|叔父|伯父|叔母|伯母|従兄弟?|従姉妹?|恋人|仲間|相棒"
    r"|旧友|隣人|同期|後任|前任|部員|隊員|店員|社員|職員|教官|[武大]将|藩主|城主|家老|家臣|皇太子|党首|総裁|長官|酋長|C[A-Z]{1,3}O"
    r"|DF|MF|FW|GK|同僚|後輩|先輩|上司|部下|氏名|名前|担当)$"
)
FIRMS: Final = frozenset("株式会社 有限会社 合同会社 合資会社 財団法人 社団法人".split())
# Behind a name: the whole is a firm, a school, a place, a unit, a thing.
HEADS: Final = tuple(
    """社 会社 大学 大学院 学院 学園 高校 高等学校 中学 中学校 小学校 学校 校 研究室 工業 製薬 薬品 薬局 薬舗 電機 電気 電灯 電力 電鉄 鉄道 線 駅 空港 港 橋 川 山
    岳 島 岬 湖 池 沼 峠 谷 坂 温泉 飛行場 高原 通り 町 村 市 区 郡 県 州 城 寺 神社 宮 堂 院 クリニック 教会 神殿 館 劇場 座 競馬場 球場 競技場 工場 スタジアム アリーナ 公園 古墳 遺跡
    砦 山脈 海峡 海岸 地区 エリア 方面 団地 タウン ビル タワー ホテル 銀行 証券 商事 商店 商会 物産 建設 不動産 組 グループ 財団 基金 協会 学会 連盟 連合 同盟 党 軍
    隊 艦隊 師団 司令部 内閣 政権 陣営 王朝 幕府 藩 杯 賞 カップ 記念 事件 法 条約 協定 定理 方程式 理論 効果 症候群 病 計画 プロジェクト 号 丸 製 比 会 局 所 灯台
    時代 炭鉱 高地 山地 平野 操車場 遊歩道 合戦 教団 字典 物語 ゼミナール 兵営 刑場 歯科 医療 工務店 パーキング ステーション バイパス フォーラム 斎場 IC インター 教室 塾 苑 荘
    国 湾 間 衆 展 府 舎 暦 ライン コンクール クラブ チーム リーグ バンド ユナイテッド 酒造 農園 牧場 珈琲 楽器 飛行機 自動車 セメント モータース プロダクション 出版
    書房 書店 新聞 放送 テレビ ラジオ 文庫 法人 シティ パーク ダム センター リゾート ベリー 寮 楼 菜館 公司 ホールディングス ブラザース カンパニー コミック""".split()
)
# In foreign names joined by dots: words that no person's name has, and words that some have.
LINKING: Final = frozenset("アンド エンド ザ オブ トゥ トゥー イン フォー".split())
THINGS: Final = frozenset(
    """ユナイテッド シティ クラブ リーグ カップ チーム グループ カンパニー コーポレーション インコーポレイテッド エンターテインメント ブラザース ダム スクウェア スクエア
    シアター コンテスト フェスティバル サウンド フェア コミック タワー ビル ホテル パーク センター ステート トップ スター スターズ ワールド カー システム システムズ
    サービス ソフト ネット モーター モータース エンジン プロ オープン グランプリ ショー ツアー ミュージック レコード レコーズ ブック ブックス ジャズ ロック バンド
    エア エアウェイズ エアラインズ アスレティック スポルティング アンサンブル オーケストラ シネマ シネマズ ピクチャーズ スタジオ スタジオズ プロダクション アニメーション プラネット ディビジョン
    ゲート ブラザーズ スクェア ミュージアム ギャラリー アカデミー カレッジ スクール ソフトウェア テクノロジー テクノロジーズ ソリューションズ パートナーズ ホールディングス インターナショナル
    グラフ データ データベース ネットワーク サーバー プログラム プロジェクト プラットフォーム マネジメント モデル テスト レポート サポート セキュリティ クラウド ツール アプリ コード ポリシー
    ゲーム ゲームズ オンライン レイク リバー マウンテン アイランド ストリート スタジアム アリーナ プラザ タウン ハウス バンク キャピタル ファイナンス ベース クルー""".split()
)
# Of these, what families are called as well (キャロライン・レイク), and what parents call a child (ビル・クリントン).
NAMED_THINGS: Final = frozenset("レイク リバー スター ロック ハウス ショー パーク ブック ベース プラザ".split())
GIVEN_THINGS: Final = frozenset({"ビル", "ロック"})
# Surnames of one sign in China and Korea, which are common words as well.
ONE_SIGN: Final = frozenset(
    "金李朴崔鄭姜趙尹張林韓呉申徐権黄安宋柳洪全高文孫梁裴白曹許南沈盧河丁郭成車具禹朱任田羅辛閔兪池陳厳蔡元千方孔玄咸卞楊廉辺呂秋都魯石蒋王劉周胡何馬謝唐馮于董"
    "蕭程袁鄧傅曽彭蘇賈魏薛葉閻余潘杜戴夏鍾汪范姚譚廖鄒熊陸郝康毛邱秦江史顧侯邵孟龍万段雷銭湯黎易常武喬賀頼龔島英"
)
# Words of one sign that stand before a given name and are no surname.
NO_SURNAME: Final = frozenset(
    "故妻夫姉妹兄弟父母娘孫姪甥嫁友祖前現元新旧両各主師皇王姫名姓他計約同当本長次男女者人神仏君臣将兵士氏字号亡実義叔伯従又並及"
)
# Words of one sign before a title that say which one, or of what; and those that say which house.
NO_TITLED: Final = NO_SURNAME | frozenset(
    "全総大小正副准高初終再市町村区県国道府社党軍隊局部課室店館校院園所駅寮塾係班組団会船艦艇機車銀古若老平上中下左右"
)
# Surnames that are rather what somebody has, or is to somebody: 社長の机, 部長の上司.
HAD: Final = NO_SURNAME | frozenset("本 机 顔 音 金 町 前 上 中 方 馬 牛 上司 孫".split())
SIDES: Final = frozenset("東西南北")
HOUSES: Final = frozenset("館店園校署駅局所院寮塾")
CLUBS: Final = frozenset("FC AC SC AS CD CF RC BC".split())
# Words of one sign that dictionaries have as given names and that are dynasties and numbers as well.
NO_ONE: Final = frozenset("清明秦隋唐宋元千回")
# Behind a place and part of its name: 太平洋, 八代領.
NO_ENDS: Final = frozenset("洋領伝侯沖湯衣琴浜港岸路街線人城")
# What may follow a place where it is a person: who does something, rather than where.
ACTING: Final = frozenset("は が も と を や ら たち 達 本人 自身 自ら".split())
# Families' names that end like a temple's or a shop's.
HOUSE_NAMES: Final = frozenset("小野寺 西園寺 徳大寺 国分寺 大道寺 神宮寺 竜造寺 龍造寺 勧修寺 安国寺 妙法寺".split())
# Common words of one sign that parents give as names; and the signs with which given names end.
GIVEN: Final = frozenset(
    "愛葵蒼碧茜梓杏郁樹泉伊魁楓薫叶環希京瑛煌光昊心空颯翠澄匠巧司純潤駿俊翔奨仁慎真誠聖惺拓岳丈椿紬翼晴遥陽悠優佑雪結紫凛凜律陸龍竜涼諒亮怜玲蓮航弘洸恒晃耕皓湊海渚渉稜瞭月"
    "朔星昴輝暁曙旭旬桃桜梨菫萌芽蘭詩詠絢彩澪霞霧雫朱緋雅栞鈴弦凪昇稔豊忍睦篤聡徹譲学望薫岬峻巴静歩夢舞花華暖柊新匠剛翼弘慶恵勝健仁文秀"
)
GIVEN_ENDS: Final = frozenset("斗翔陽太郎朗介助輝樹哉乃菜奈華香紀希音子愛衣春姫奏羽実彦雄男夫美莉梨里咲花結月")
# Words of hiragana that dictionaries have as names and that say why, when, where or how many.
NO_GIVEN: Final = frozenset("ため とき なか せい みち ひとり もり うち さき もと すえ あと ほか はず まま ほう".split())
# Words with an honorific that name nobody: 神様, 花屋さん, スタッフさん.
NOBODIES: Final = frozenset(
    "スタッフ ディーラー メイド ママ パパ ワン ネコ ニャン モデル デザイナー オーナー シェフ マスター コーチ トレーナー ドクター ナース ガイド ドライバー メーカー ユーザー ライター "
    "カメラマン アイドル ファン リーダー マネージャー アシスタント 神 王 仏 殿 奥 客 皆 店 親 孫 嫁 婿 姫 宮 旦那 大家 花屋 本屋 魚屋 肉屋 酒屋 薬屋 床屋 菓子屋 八百屋 問屋 業者 職人 役人".split()
)
# Before whoever did something then.
TIMES: Final = frozenset(
    "昨日 今日 明日 先日 先週 今週 来週 今朝 昨夜 昨晩 今夜 去年 昨年 今年 来年 今回 前回 次回 当時 最近 今度".split()
)
# Before whoever did something, when or after what: 同年マーカーは.
LATER: Final = TIMES | frozenset(
    "同年 翌年 前年 後年 晩年 同月 翌月 翌週 同日 翌日 翌朝 同時 戦後 現在 一方 以後 以降 以来 その後 のち 直後 直前 途中 当初 結局 結果 後 時 際 間 中".split()
)
CLOSE: Final = frozenset(
    "娘 息子 姪 甥 孫 妹 姉 弟 兄 友達 友人 親友 知人 同僚 上司 部下 先輩 後輩 彼女 彼氏 うち 隣 隣人 いとこ 恋人 同級生 クラスメート".split()
)
# Families are called so, but what does something is rather a part of a country, a house or anybody.
ANYBODY: Final = (
    TITLES
    | NOBODIES
    | HAD
    | CLOSE
    | frozenset(
        """市場 大手 役所 味方 世代 国立 旗本 別当 蔵元 野手 内野 政友 道場 神宮 大国 小国 南国 南部 北部 西部 東部 中部 下部 上部 南方 北方 西方 東方 本丸 御所 公文 中立 四方 上方 中間
    見方 本名 相場 天井""".split()
    )
)
# Forms of signs in names that dictionaries have in another.
VARIANTS: Final = str.maketrans("髙﨑德濵淸", "高崎徳浜清")
VARIANT: Final = re.compile("[髙﨑德濵淸]")
